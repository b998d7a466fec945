"""Which layers a step acts on, and with which settings."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from enum import Enum
from typing import Any, TypeGuard

from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.utils import parametrize

from compression.context import CompressionContext
from compression.core.errors import InputError


class LayerKind(Enum):
    """What a layer computes with its weight."""

    LINEAR = "linear layer"
    CONV2D = "convolution"


_CLASSES: dict[LayerKind, type[nn.Module]] = {LayerKind.LINEAR: nn.Linear, LayerKind.CONV2D: nn.Conv2d}
_COMPUTING = ("forward", "_conv_forward", "__call__")


def layer_kind(module: nn.Module) -> LayerKind | None:
    """What a module is as a layer: the one place that decides it.

    A subclass that only initialises or describes itself differently is the plain layer.

    Returns:
        None for a module that is no layer, and for one that computes something else with its weight (`custom_layer`).
    """
    return None if custom_layer(module) else _base_kind(module)


def custom_layer(module: nn.Module) -> str | None:
    """Why a module that derives from a layer's class is not that layer; None for plain layers and other modules."""
    kind = _base_kind(module)
    if kind is None:
        return None
    name, base = type(module).__name__, _CLASSES[kind]
    if parametrize.is_parametrized(module) or not isinstance(module._parameters.get("weight"), nn.Parameter):
        return f"its weight is computed from other parameters ({name})"
    if isinstance(module, NonDynamicallyQuantizableLinear):
        return "multi-head attention reads its weight directly"
    if any(getattr(type(module), method, None) is not getattr(base, method, None) for method in _COMPUTING):
        return f"{name} has a forward pass other than {base.__name__}'s"
    if any(method in vars(module) for method in _COMPUTING):
        return f"its forward pass was replaced ({name})"
    return None


def _base_kind(module: nn.Module) -> LayerKind | None:
    return next((kind for kind, base in _CLASSES.items() if isinstance(module, base)), None)


def is_linear(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a module is a plain linear layer."""
    return layer_kind(module) is LayerKind.LINEAR


def is_conv2d(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a plain convolution of images."""
    return layer_kind(module) is LayerKind.CONV2D


def weight_layers(model: nn.Module) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    """Plain convolutions and linear layers by fqn, in registration order, each module once."""
    for fqn, module in model.named_modules():
        if is_linear(module) or is_conv2d(module):
            yield fqn, module


def custom_layers(model: nn.Module) -> dict[str, str]:
    """Layers of another forward pass, which techniques leave as they are: ``fqn -> why``."""
    found = ((fqn, custom_layer(module)) for fqn, module in model.named_modules())
    return {fqn: reason for fqn, reason in found if reason is not None}


def matches(fqn: str, pattern: str) -> bool:
    """Whether an fqn equals a pattern, lies below it, or fully matches it as a regular expression."""
    return fqn == pattern or fqn.startswith(pattern + ".") or re.fullmatch(pattern, fqn) is not None


def unmatched(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """Patterns that match none of the model's modules."""
    names = [fqn for fqn, _ in model.named_modules() if fqn]
    return [pattern for pattern in patterns if not any(matches(fqn, pattern) for fqn in names)]


def is_selected(fqn: str, context: CompressionContext) -> bool:
    """Whether the step's include / exclude patterns leave a module in."""
    included = not context.include or any(matches(fqn, p) for p in context.include)
    return included and not any(matches(fqn, p) for p in context.exclude)


def selected_layers(
    model: nn.Module, context: CompressionContext
) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    """Weight layers that the step's include / exclude patterns leave in; the others are reported as skipped.

    Of layers that share one weight only the first is given, so that a step acts on a weight once.
    """
    context.report.skipped.update(custom_layers(model))
    seen: set[int] = set()
    for fqn, module in weight_layers(model):
        if id(module.weight) in seen:
            continue
        seen.add(id(module.weight))
        if context.include and not any(matches(fqn, p) for p in context.include):
            context.report.skipped[fqn] = "not in the step's included layers"
        elif any(matches(fqn, p) for p in context.exclude):
            context.report.skipped[fqn] = "excluded by the step"
        else:
            yield fqn, module


def config_for(fqn: str, config: Any, context: CompressionContext) -> Any:
    """The step's config with the overrides that match this layer.

    Raises:
        InputError: if an override names an unknown knob or a value out of range.
    """
    changes: dict[str, object] = {}
    for pattern, values in context.overrides.items():
        if matches(fqn, pattern):
            changes.update(values)
    if not changes:
        return config
    known = [f.name for f in fields(config)]
    for name in changes:
        if name not in known:
            raise InputError(f"overrides.{name}", changes[name], "allowed knobs: " + ", ".join(known))
    return replace(config, **changes)
