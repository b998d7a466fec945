"""Layers split into two or three thinner ones."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

_Layer = TypeVar("_Layer", bound=nn.Module)


def _take_hooks(layer: _Layer, old: nn.Module) -> _Layer:
    """Do in front of a layer what is done in front of the one whose place it takes (padding); returns the layer."""
    layer._forward_pre_hooks.update(old._forward_pre_hooks)
    return layer


class FactorizedConv2d(nn.Sequential):
    """A convolution to `rank` channels followed by a 1x1 convolution.

    Args:
        layer: The convolution that is replaced (not grouped).
        first: (rank, C_in, k, k).
        second: (C_out, rank).
    """

    def __init__(self, layer: nn.Conv2d, first: Tensor, second: Tensor) -> None:
        rank = len(first)
        inner = nn.Conv2d(
            layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=False,
            padding_mode=layer.padding_mode,
        )
        outer = nn.Conv2d(rank, layer.out_channels, 1, bias=layer.bias is not None)
        inner.weight.data, outer.weight.data = first.contiguous(), second[:, :, None, None].contiguous()
        if layer.bias is not None:
            outer.bias.data = layer.bias.detach().clone()
        super().__init__(inner, outer)
        _take_hooks(self, layer)

    def merged(self) -> nn.Conv2d:
        """A convolution of the original shape."""
        inner, outer = self[0], self[1]
        whole = nn.Conv2d(
            inner.in_channels, outer.out_channels, inner.kernel_size, inner.stride, inner.padding, inner.dilation,
            bias=outer.bias is not None, padding_mode=inner.padding_mode,
        )
        return _take_hooks(whole, self)


class TuckerConv2d(nn.Sequential):
    """A 1x1 convolution to fewer channels, the kernel between fewer channels, and a 1x1 convolution to all outputs.

    Args:
        layer: The convolution that is replaced (not grouped).
        inward: (inner, C_in).
        core: (outer, inner, k, k).
        outward: (C_out, outer).
    """

    def __init__(self, layer: nn.Conv2d, inward: Tensor, core: Tensor, outward: Tensor) -> None:
        first = nn.Conv2d(layer.in_channels, len(inward), 1, bias=False)
        middle = nn.Conv2d(
            len(inward), len(core), layer.kernel_size, layer.stride, layer.padding, layer.dilation, bias=False,
            padding_mode=layer.padding_mode,
        )
        last = nn.Conv2d(len(core), layer.out_channels, 1, bias=layer.bias is not None)
        first.weight.data, middle.weight.data = inward[:, :, None, None].contiguous(), core.contiguous()
        last.weight.data = outward[:, :, None, None].contiguous()
        if layer.bias is not None:
            last.bias.data = layer.bias.detach().clone()
        super().__init__(first, middle, last)
        _take_hooks(self, layer)

    def merged(self) -> nn.Conv2d:
        """A convolution of the original shape."""
        first, middle, last = self
        whole = nn.Conv2d(
            first.in_channels, last.out_channels, middle.kernel_size, middle.stride, middle.padding, middle.dilation,
            bias=last.bias is not None, padding_mode=middle.padding_mode,
        )
        return _take_hooks(whole, self)


class FactorizedLinear(nn.Sequential):
    """A linear layer to `rank` units followed by another.

    Args:
        layer: The layer that is replaced.
        first: (rank, in).
        second: (out, rank).
    """

    def __init__(self, layer: nn.Linear, first: Tensor, second: Tensor) -> None:
        inner = nn.Linear(layer.in_features, len(first), bias=False)
        outer = nn.Linear(len(first), layer.out_features, bias=layer.bias is not None)
        inner.weight.data, outer.weight.data = first.contiguous(), second.contiguous()
        if layer.bias is not None:
            outer.bias.data = layer.bias.detach().clone()
        super().__init__(inner, outer)

    def merged(self) -> nn.Linear:
        """A linear layer of the original shape."""
        return nn.Linear(self[0].in_features, self[1].out_features, bias=self[1].bias is not None)


Factorized = (FactorizedConv2d, FactorizedLinear, TuckerConv2d)


def factorized_layers(model: nn.Module) -> dict[str, FactorizedConv2d | FactorizedLinear | TuckerConv2d]:
    """Split layers by fqn."""
    return {fqn: module for fqn, module in model.named_modules() if isinstance(module, Factorized)}


def effective_weight(model: nn.Module, fqn: str) -> Tensor | None:
    """Weight of a layer, multiplied out where it was split, (C_out, ...); None where the module has none."""
    module = model.get_submodule(fqn)
    if not isinstance(module, Factorized):
        weight = getattr(module, "weight", None)
        return weight.detach() if isinstance(weight, Tensor) else None
    product, *others = [part.get_parameter("weight").detach() for part in module]
    for part in others:
        if part[0].numel() == part.shape[1]:  # 1x1, behind any kernel
            product = torch.einsum("oi,i...->o...", part.flatten(1), product)
        else:
            product = torch.einsum("oi...,ic->oc...", part, product.flatten(1))
    return product


def merged_copy(model: nn.Module) -> nn.Module:
    """The same architecture with unsplit layers; their weights mean nothing."""
    whole = copy.deepcopy(model)
    for fqn, module in factorized_layers(model).items():
        whole.set_submodule(fqn, module.merged())
    return whole.eval()
