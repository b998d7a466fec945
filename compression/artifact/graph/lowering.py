"""A model as the graph sees it: batch norm folded into convolutions, linear weights transposed.

Folding happens here only; a compressed model keeps its batch norm, so that the statistics can still be corrected.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.layers import is_conv2d, is_linear, weight_layers

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


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

    def forward(self, x: Tensor) -> Tensor:
        product = x @ self.weight
        return product if self.bias is None else product + self.bias


@torch.inference_mode()
def find_folds(model: nn.Module, example_input: Tensor) -> dict[str, Fold]:
    """Batch norms that directly follow a convolution, found by running the model once; keyed by the layer's fqn.

    A layer that runs twice, or whose output feeds two batch norms, is left out.
    """
    produced: dict[int, tuple[str, Tensor]] = {}
    pairs: dict[str, str] = {}
    runs: dict[str, int] = {}
    layers = {module: fqn for fqn, module in weight_layers(model) if is_conv2d(module)}
    norms = {m: fqn for fqn, m in model.named_modules() if isinstance(m, BatchNorm)}

    def after_layer(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del inputs
        runs[layers[module]] = runs.get(layers[module], 0) + 1
        produced[id(output)] = (layers[module], output)

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found = produced.get(id(inputs[0]))
        if found is not None:
            runs[found[0]] += found[0] in pairs
            pairs[found[0]] = norms[module]

    handles = [m.register_forward_hook(after_layer) for m in layers]
    handles += [m.register_forward_pre_hook(before_norm) for m in norms]
    try:
        model(example_input)
    finally:
        for handle in handles:
            handle.remove()
    return {fqn: fold_of(model, fqn, norm) for fqn, norm in pairs.items() if runs[fqn] == 1}


def fold_of(model: nn.Module, fqn: str, norm: str) -> Fold:
    """Multiplier and bias that a layer takes over from its batch norm."""
    layer, bn = model.get_submodule(fqn), model.get_submodule(norm)
    multiplier = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    inner = torch.zeros_like(bn.running_mean) if layer.bias is None else layer.bias
    return Fold(norm, multiplier.detach().float(), (bn.bias + (inner - bn.running_mean) * multiplier).detach().float())


def lowered_copy(model: nn.Module, folds: dict[str, Fold]) -> nn.Module:
    """A copy with batch norms folded and linear layers transposed. Parameter names stay."""
    lowered = copy.deepcopy(model)
    with torch.no_grad():
        for fqn, fold in folds.items():
            layer = lowered.get_submodule(fqn)
            layer.weight.mul_(fold.multiplier.reshape(-1, *[1] * (layer.weight.ndim - 1)))
            layer.bias = nn.Parameter(fold.bias.clone())
            lowered.set_submodule(fold.norm, nn.Identity())
    for fqn, module in list(lowered.named_modules()):
        if is_linear(module):
            lowered.set_submodule(fqn, TransposedLinear(module))
    return lowered.eval()


def lowered_tensors(model: nn.Module, folds: dict[str, Fold]) -> dict[str, Tensor]:
    """What `lowered_copy`'s parameters and buffers would be, by name, without copying the model."""
    tensors = {name: tensor.detach() for name, tensor in model.named_parameters(remove_duplicate=False)}
    tensors.update({name: buffer for name, buffer in model.named_buffers() if buffer is not None})
    for fqn, fold in folds.items():
        weight = tensors[f"{fqn}.weight"]
        tensors[f"{fqn}.weight"] = weight * fold.multiplier.reshape(-1, *[1] * (weight.ndim - 1))
        tensors[f"{fqn}.bias"] = fold.bias
        for name in [n for n in tensors if n.startswith(f"{fold.norm}.")]:
            del tensors[name]
    for fqn, module in model.named_modules(remove_duplicate=False):
        if is_linear(module):
            tensors[f"{fqn}.weight"] = tensors[f"{fqn}.weight"].t()
    return tensors
