"""Channels multiplied by factors, in place; the state remembers how far they are from the original's."""

import torch
from torch import Tensor, nn

from compression.state import state_of


def input_sizes(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """Largest weight that reads each input channel, (C_in,)."""
    return _by_input(layer).abs().amax((1, 3)).flatten()


def output_sizes(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """Largest weight of each output channel, (C_out,)."""
    return layer.weight.detach().abs().flatten(1).amax(1)


def scale_inputs(model: nn.Module, fqn: str, factors: Tensor) -> None:
    """Multiply the weights that read each input channel, whose values are to be divided by the same, (C_in,)."""
    layer = model.get_submodule(fqn)
    view = _by_input(layer)
    layer.weight.data = (view * factors.reshape(len(view), 1, -1, 1)).reshape(layer.weight.shape)
    _remember(state_of(model).input_scales, fqn, 1 / factors)


def scale_outputs(model: nn.Module, fqn: str, factors: Tensor) -> None:
    """Multiply the output channels of a layer or of a normalization's affine part, (C_out,)."""
    module = model.get_submodule(fqn)
    module.weight.data = module.weight.data * factors.reshape(-1, *[1] * (module.weight.ndim - 1))
    if module.bias is not None:
        module.bias.data = module.bias.data * factors
    _remember(state_of(model).output_scales, fqn, factors)


def scale_before_norm(model: nn.Module, fqn: str, norm_fqn: str, factors: Tensor) -> None:
    """Multiply the output channels of a layer, positive (C_out,); the batch norm behind it takes that back."""
    scale_outputs(model, fqn, factors)
    norm = model.get_submodule(norm_fqn)
    before = (norm.running_var + norm.eps).sqrt()
    norm.running_mean.mul_(factors)
    norm.running_var.mul_(factors.square())
    norm.weight.data = norm.weight.data * (norm.running_var + norm.eps).sqrt() / (factors * before)
    _remember(state_of(model).input_scales, norm_fqn, factors)


def may_scale(model: nn.Module, fqn: str) -> bool:
    """Whether a module has weights to scale, none of them held to a grid or codebook already."""
    module, held = model.get_submodule(fqn), state_of(model).encodings
    if getattr(module, "weight", None) is None:
        return False
    return not any(f"{fqn}.{name}" in held for name, _ in module.named_parameters(recurse=False))


def _by_input(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """The weight as (groups, C_out / groups, C_in / groups, kernel positions)."""
    weight = layer.weight.detach()
    return weight.reshape(getattr(layer, "groups", 1), -1, weight.shape[1], weight[0, 0].numel())


def _remember(table: dict[str, Tensor], fqn: str, factors: Tensor) -> None:
    table[fqn] = table.get(fqn, torch.ones_like(factors)) * factors
