"""Layers split into two thinner ones."""

import copy

from torch import Tensor, nn


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

    def merged(self) -> nn.Conv2d:
        """A convolution of the original shape."""
        inner, outer = self[0], self[1]
        return nn.Conv2d(
            inner.in_channels, outer.out_channels, inner.kernel_size, inner.stride, inner.padding, inner.dilation,
            bias=outer.bias is not None, padding_mode=inner.padding_mode,
        )


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


Factorized = (FactorizedConv2d, FactorizedLinear)


def factorized_layers(model: nn.Module) -> dict[str, FactorizedConv2d | FactorizedLinear]:
    """Split layers by fqn."""
    return {fqn: module for fqn, module in model.named_modules() if isinstance(module, Factorized)}


def merged_copy(model: nn.Module) -> nn.Module:
    """The same architecture with unsplit layers; their weights mean nothing."""
    whole = copy.deepcopy(model)
    for fqn, module in factorized_layers(model).items():
        whole.set_submodule(fqn, module.merged())
    return whole.eval()
