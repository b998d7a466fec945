"""Techniques by name. One file in this folder each; importing the package registers them all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from compression.context import CompressionContext
from compression.core.errors import InputError

TechniqueFunction = Callable[[nn.Module, Any, CompressionContext], nn.Module]


@dataclass(frozen=True)
class Technique:
    """A registered compression technique.

    Attributes:
        key: Canonical name used by recipes, pages and scripts.
        title: Name for people.
        family: Group on the page ("pruning", "quantization", ...).
        paper: Short citation.
        paper_url: Link to the paper.
        main_knob: Field that a sweep varies by default.
        config_type: Frozen dataclass of its knobs.
        function: ``(model, config, context) -> model``; acts on the given copy and returns it.
        summary: What it does to the weights, in one sentence.
        smaller: When it makes the model smaller.
        faster: When it makes it faster.
        formula: What it solves or computes, as LaTeX.
        symbols: What the formula's letters mean.
        example: Steps, in a recipe's form, that show on one layer what it does: the last is its own, at a setting that
            can be seen; those before it make ready what it acts on.
        needs: Subset of {"calibration", "training", "teacher"}.
        order: Place in the suggested order of a combined recipe.
        by_layer: Whether it can act on one layer alone, so that each layer's sensitivity to it can be measured.
    """

    key: str
    title: str
    family: str
    paper: str
    paper_url: str
    main_knob: str
    config_type: type
    function: TechniqueFunction
    summary: str
    smaller: str
    faster: str
    formula: str = ""
    symbols: str = ""
    example: tuple[Mapping[str, Any], ...] = ()
    needs: frozenset[str] = frozenset()
    order: int = 50
    by_layer: bool = True

    @property
    def helps(self) -> str:
        """When it makes the model smaller and when faster."""
        return f"Smaller: {self.smaller} Faster: {self.faster}"

    def order_of(self, config: Any) -> int:
        """Place of a configured step in the suggested order: its config's own `order`, where that has one."""
        return int(getattr(config, "order", self.order))


_TECHNIQUES: dict[str, Technique] = {}


def register_technique(*, config_type: type, **metadata: Any) -> Callable[[TechniqueFunction], TechniqueFunction]:
    """Decorator that registers a function under ``metadata["key"]``; registering again replaces it."""

    def decorate(function: TechniqueFunction) -> TechniqueFunction:
        technique = Technique(config_type=config_type, function=function, **metadata)
        _TECHNIQUES[technique.key] = technique
        return function

    return decorate


def list_techniques() -> list[Technique]:
    """All techniques in the suggested order of application."""
    return sorted(_TECHNIQUES.values(), key=lambda t: (t.order, t.key))


def get_technique(key: str) -> Technique:
    """Look a technique up.

    Raises:
        InputError: if there is none of that name.
    """
    if not isinstance(key, str) or key not in _TECHNIQUES:
        raise InputError("technique", key, "allowed: " + ", ".join(sorted(_TECHNIQUES)))
    return _TECHNIQUES[key]
