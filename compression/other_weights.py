"""Weights of modules other than plain linear layers and convolutions of images.

Recurrent networks, convolutions over one or three axes and transposed convolutions hold matrices that can be stored in
fewer bits, pruned and shared. No statistics of their inputs are kept, so techniques treat them by their values alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from compression.context import CompressionContext
from compression.layers import config_for, custom_layers, matches, weight_layers

_RECURRENT = (nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_KINDS: tuple[type[nn.Module], ...] = (*_RECURRENT, *_CONVOLUTIONS)
OTHER_KINDS = frozenset(kind.__name__ for kind in _KINDS)
_COMPUTING = ("forward", "_conv_forward")
_TABLES_AND_NORMS = (nn.Embedding, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, _NormBase)


@dataclass(frozen=True)
class OtherWeight:
    """One matrix of such a module.

    Attributes:
        fqn: The module.
        name: Full name of the parameter.
        kind: The module's class, for people.
    """

    fqn: str
    name: str
    kind: str


def other_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules of these kinds with PyTorch's own forward pass, by fqn, in registration order."""
    for fqn, module in model.named_modules():
        base = next((kind for kind in _KINDS if isinstance(module, kind)), None)
        if base is not None and all(
            getattr(type(module), name, None) is getattr(base, name, None) for name in _COMPUTING
        ):
            yield fqn, module


def other_weights(model: nn.Module) -> Iterator[OtherWeight]:
    """Matrices and kernels of these modules; of those that share one parameter the first."""
    seen: set[int] = set()
    for fqn, module in other_modules(model):
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim > 1 and id(parameter) not in seen:
                seen.add(id(parameter))
                yield OtherWeight(fqn, f"{fqn}.{name}" if fqn else name, type(module).__name__)


def selected_weights(
    model: nn.Module, config: Any, context: CompressionContext
) -> Iterator[tuple[OtherWeight, Tensor, Any]]:
    """Those that the step's include / exclude patterns leave in, with value and config; the others are reported."""
    for weight in other_weights(model):
        if context.include and not any(matches(weight.fqn, p) for p in context.include):
            context.report.skipped[weight.fqn] = "not in the step's included layers"
        elif any(matches(weight.fqn, p) for p in context.exclude):
            context.report.skipped[weight.fqn] = "excluded by the step"
        else:
            context.check_cancelled()
            value = model.get_parameter(weight.name).detach()
            yield weight, value, config_for(weight.fqn, config, context)


def report_others(model: nn.Module, context: CompressionContext, reason: str) -> None:
    """Say of each of these modules why a step leaves it alone.

    Args:
        model: The model.
        context: Of the step.
        reason: With ``{kind}`` for the module's class.
    """
    for fqn, module in other_modules(model):
        context.report.skipped.setdefault(fqn, reason.format(kind=type(module).__name__))


def free_parameters(model: nn.Module) -> list[str]:
    """Matrices that no layer, embedding or norm holds: tables of positions, bare parameters, items of lists.

    Returns:
        Names as in ``model.named_parameters()``, in order.
    """
    held = {fqn for fqn, _ in (*weight_layers(model), *other_modules(model))} | set(custom_layers(model))
    found = []
    for name, parameter in model.named_parameters():
        owner = name.rpartition(".")[0]
        known = owner in held or isinstance(model.get_submodule(owner), _TABLES_AND_NORMS)
        if parameter.ndim > 1 and parameter.is_floating_point() and not known:
            found.append(name)
    return found


def set_value(model: nn.Module, weight: OtherWeight, value: Tensor, context: CompressionContext) -> None:
    """Put a new value in place and report the module as changed, once."""
    with torch.no_grad():
        model.get_parameter(weight.name).copy_(value)
    if weight.fqn not in context.report.changed:
        context.report.changed.append(weight.fqn)
