"""Which layers a step acts on, and with which settings."""

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from torch import nn

from compression.context import CompressionContext
from compression.errors import InputError

WEIGHT_LAYERS = (nn.Conv2d, nn.Linear)


def weight_layers(model: nn.Module) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    """Convolutions and linear layers by fqn, in registration order, each module once."""
    for fqn, module in model.named_modules():
        if isinstance(module, WEIGHT_LAYERS):
            yield fqn, module


def matches(fqn: str, pattern: str) -> bool:
    """Whether an fqn equals a pattern, lies below it, or fully matches it as a regular expression."""
    if fqn == pattern or fqn.startswith(pattern + "."):
        return True
    try:
        return re.fullmatch(pattern, fqn) is not None
    except re.error:
        return False


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
