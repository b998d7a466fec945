"""A model as the graph sees it: batch norm folded into convolutions, linear weights transposed.

Folding happens here only; a compressed model keeps its batch norm, so that the statistics can still be corrected.
"""

import copy
from dataclasses import dataclass, field
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compression.layers import is_conv2d, is_linear, layer_kind
from compression.structure.dataflow import Dataflow, Operation, record_dataflow

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d
_PRODUCTS = ("conv2d", "linear")


@dataclass(frozen=True)
class Fold:
    """A batch norm that follows a layer: ``y = multiplier * layer_without_bias(x) + bias``.

    Attributes:
        norm: fqn of the batch norm.
        multiplier: (C_out,) float32.
        bias: (C_out,) float32.
    """

    norm: str
    multiplier: Tensor
    bias: Tensor


class TransposedLinear(nn.Module):
    """A linear layer whose weight is (in, out), so that it stays one initializer of the exported graph."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().t().contiguous())
        self.bias = None if linear.bias is None else nn.Parameter(linear.bias.detach().clone())
        self._forward_hooks, self._forward_pre_hooks = linear._forward_hooks, linear._forward_pre_hooks

    def forward(self, x: Tensor) -> Tensor:
        product = x @ self.weight
        return product if self.bias is None else product + self.bias


@dataclass(frozen=True, eq=False)
class Lowering:
    """How a model's layers lie in the graph, decided once; whoever writes or reads the graph's weights goes by it.

    Attributes:
        folds: Batch norms that are folded into a layer, by the layer's fqn.
        transposed: fqns of the linear layers whose weight lies in the graph as (in, out).
    """

    folds: dict[str, Fold] = field(default_factory=dict)
    transposed: frozenset[str] = frozenset()

    def is_transposed(self, fqn: str) -> bool:
        """Whether a layer's weight lies in the graph as (in, out)."""
        return fqn in self.transposed

    def summary(self) -> str:
        """What of it decides the graph's structure."""
        pairs = sorted((fqn, fold.norm) for fqn, fold in self.folds.items())
        return repr((pairs, sorted(self.transposed)))

    def without_folds(self) -> "Lowering":
        """The same with every batch norm left standing."""
        return Lowering({}, self.transposed) if self.folds else self


@torch.inference_mode()
def plan_lowering(model: nn.Module, example_input: Tensor) -> Lowering:
    """Decide how a model's layers lie in its graph, from what it does when it runs.

    Args:
        model: In eval mode.
        example_input: (1, ...).
    """
    flow = record_dataflow(model, example_input)
    return Lowering(_folds(model, flow), _transposed(model, flow))


def _folds(model: nn.Module, flow: Dataflow) -> dict[str, Fold]:
    """Exact batch norms that alone read the output of a plain layer; both run once and share no parameter."""
    once, found = dict(flow.once()), {}
    for fqn, operation in once.items():
        layer, reader = model.get_submodule(fqn), flow.reader(operation)
        if layer_kind(layer) is None or operation.within != fqn or operation.name not in _PRODUCTS:
            continue
        if reader is None or reader.name != "batch_norm" or reader.module not in once or len(reader.inputs) != 1:
            continue
        norm = reader.module
        foldable = norm == reader.within and is_exact_batch_norm(model.get_submodule(norm))
        if foldable and (is_conv2d(layer) or operation.rank == 2):
            found[fqn] = fold_of(model, fqn, norm)
    return found


def is_exact_batch_norm(module: nn.Module) -> TypeGuard[BatchNorm]:
    """Whether a module is a batch norm with running statistics and nothing else, affine or not."""
    computing = type(module).forward is _BatchNorm.forward and "forward" not in vars(module)
    plain = isinstance(module, BatchNorm) and computing
    return plain and not module.training and module.running_mean is not None and module.running_var is not None


def _transposed(model: nn.Module, flow: Dataflow) -> frozenset[str]:
    """Plain linear layers whose weight nothing reads but the forward passes of the layers that hold it."""
    holders: dict[int, list[str]] = {}
    for fqn, module in model.named_modules(remove_duplicate=False):
        if is_linear(module):
            holders.setdefault(id(module.weight), []).append(fqn)
    named = dict(model.named_parameters())
    foreign = {
        id(named[name]) for operation in flow.operations for name in operation.parameters
        if name in named and id(named[name]) in holders and not _is_product(model, operation, named[name])
    }
    return frozenset(fqn for weight, fqns in holders.items() if weight not in foreign for fqn in fqns)


def _is_product(model: nn.Module, operation: Operation, parameter: Tensor) -> bool:
    """Whether an operation reads a parameter in the forward pass of a module that holds it."""
    return any(value is parameter for value in model.get_submodule(operation.within).parameters(recurse=False))


def fold_of(model: nn.Module, fqn: str, norm: str) -> Fold:
    """Multiplier and bias that a layer takes over from its batch norm."""
    layer, bn = model.get_submodule(fqn), model.get_submodule(norm)
    multiplier = torch.rsqrt(bn.running_var + bn.eps) if bn.weight is None else (
        bn.weight / torch.sqrt(bn.running_var + bn.eps)
    )
    inner = torch.zeros_like(bn.running_mean) if layer.bias is None else layer.bias
    bias = (inner - bn.running_mean) * multiplier
    bias = bias if bn.bias is None else bn.bias + bias
    return Fold(norm, multiplier.detach().float(), bias.detach().float())


def lowered_copy(model: nn.Module, lowering: Lowering) -> nn.Module:
    """A copy with batch norms folded and linear layers transposed. Parameter names stay."""
    lowered = copy.deepcopy(model)
    with torch.no_grad():
        for fqn, fold in lowering.folds.items():
            layer = lowered.get_submodule(fqn)
            layer.weight.mul_(fold.multiplier.reshape(-1, *[1] * (layer.weight.ndim - 1)))
            layer.bias = nn.Parameter(fold.bias.clone())
            lowered.set_submodule(fold.norm, nn.Identity())
    replaced: dict[int, TransposedLinear] = {}
    for fqn, module in list(lowered.named_modules(remove_duplicate=False)):
        if fqn in lowering.transposed and is_linear(module):
            lowered.set_submodule(fqn, replaced.setdefault(id(module), TransposedLinear(module)))
    return lowered.eval()


def lowered_tensors(model: nn.Module, lowering: Lowering) -> dict[str, Tensor]:
    """What `lowered_copy`'s parameters and buffers would be, by name, without copying the model."""
    tensors = {name: tensor.detach() for name, tensor in model.named_parameters(remove_duplicate=False)}
    tensors.update({name: buffer for name, buffer in model.named_buffers() if buffer is not None})
    for fqn, fold in lowering.folds.items():
        weight = tensors[f"{fqn}.weight"]
        tensors[f"{fqn}.weight"] = weight * fold.multiplier.reshape(-1, *[1] * (weight.ndim - 1))
        tensors[f"{fqn}.bias"] = fold.bias
        for name in [n for n in tensors if n.startswith(f"{fold.norm}.")]:
            del tensors[name]
    for fqn in lowering.transposed:
        tensors[f"{fqn}.weight"] = tensors[f"{fqn}.weight"].t()
    return tensors
