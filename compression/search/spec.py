"""What a search is asked for: limits, techniques and a budget."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from compression.core.errors import InputError
from compression.knobs import knobs_of
from compression.problems import ACCURACY, Quality, problem_of
from compression.techniques import get_technique, list_techniques
from models import registry
from models.errors import ModelError

STRATEGIES = ("planned", "tpe", "random")
USUAL_TECHNIQUES = ("channel_pruning", "weight_pruning", "quantization")
DEFAULT_TRIALS = 40
MOST_TRIALS, MOST_MINUTES = 2000, 24 * 60
_SIZES = {"": 1, "b": 1, "kb": 1e3, "mb": 1e6}
_TIMES = {"": 1, "ms": 1, "us": 1e-3, "s": 1e3}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*)\s*")


def _check_number(name: str, value: object, low: float, high: float, whole: bool = False) -> None:
    if value is None:
        return
    kinds = (int,) if whole else (int, float)
    right = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high
    if not right:
        raise InputError(name, value, f"allowed: a {'whole ' if whole else ''}number from {low:g} to {high:g}")


@dataclass(frozen=True)
class Limits:
    """What a model must keep; None sets no limit.

    Attributes:
        max_accuracy_drop: Points of accuracy, or hundredths of R2, that may be lost against the uncompressed model.
        max_size_bytes: Of the packed file.
        max_latency_ms: Median of one inference.
        min_speedup: Over the uncompressed model.
    """

    max_accuracy_drop: float | None = None
    max_size_bytes: float | None = None
    max_latency_ms: float | None = None
    min_speedup: float | None = None

    def __post_init__(self) -> None:
        _check_number("max_accuracy_drop", self.max_accuracy_drop, 0.0, 100.0)
        _check_number("max_size_bytes", self.max_size_bytes, 1.0, 1e12)
        _check_number("max_latency_ms", self.max_latency_ms, 1e-6, 1e9)
        _check_number("min_speedup", self.min_speedup, 1e-3, 1e6)

    def given(self) -> dict[str, float]:
        """Those that are set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class SearchSpec:
    """One search.

    Attributes:
        model: Name of the model.
        dataset: Name of its dataset.
        techniques: Keys of those that it may use.
        limits: What its results are to keep.
        trials: Budget: artifacts to measure; None for no such bound.
        minutes: Budget: minutes to spend; None for no such bound.
        strategy: "planned" seeds Optuna's TPE sampler with plans from sensitivities; "tpe" and "random" are that
            sampler alone and none.
        seed: Of the sampler.
    """

    model: str
    dataset: str
    techniques: tuple[str, ...]
    limits: Limits = Limits()
    trials: int | None = None
    minutes: float | None = None
    strategy: str = "planned"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials is None and self.minutes is None:
            object.__setattr__(self, "trials", DEFAULT_TRIALS)
        _check_number("trials", self.trials, 1, MOST_TRIALS, whole=True)
        _check_number("minutes", self.minutes, 0.01, MOST_MINUTES)
        _check_number("seed", self.seed, 0, 2**31 - 1, whole=True)
        if self.strategy not in STRATEGIES:
            raise InputError("strategy", self.strategy, "allowed: " + ", ".join(STRATEGIES))
        if not self.techniques:
            raise InputError("techniques", "", "at least one is needed: " + ", ".join(searchable()))
        for key in self.techniques:
            get_technique(key)
        order = [key for key in searchable() if key in self.techniques]
        if len(order) != len(self.techniques):
            raise InputError("techniques", ", ".join(self.techniques), "allowed, each once: " + ", ".join(searchable()))
        object.__setattr__(self, "techniques", tuple(order))

    @cached_property
    def quality(self) -> Quality:
        """By what models of its task are compared; accuracy where the model is not known any more."""
        try:
            return problem_of(registry.model_info(self.model).task).quality
        except ModelError:
            return ACCURACY

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def spec_from_dict(data: Mapping[str, Any]) -> SearchSpec:
    """Inverse of `SearchSpec.to_dict`, also after a trip through JSON; unknown fields are left out.

    Raises:
        InputError: if a value is not allowed.
    """
    known = {f.name for f in fields(SearchSpec)}
    values = {name: value for name, value in data.items() if name in known}
    limits = {f.name: values.get("limits", {}).get(f.name) for f in fields(Limits)}
    return SearchSpec(**{**values, "techniques": tuple(values["techniques"]), "limits": Limits(**limits)})


def searchable() -> list[str]:
    """Keys of the techniques that a search can use, in the suggested order: those whose main knob has a sweep."""
    return [t.key for t in list_techniques() if knobs_of(t.config_type)[t.main_knob].sweep]


def parse_size(text: str, field: str = "max_size") -> float:
    """Bytes of "300kB", "1.5 MB", "800 B" or a plain number; powers of 1000.

    Raises:
        InputError: if the text is none of these.
    """
    return _parse(text, field, _SIZES, "a size like 300kB or 1.5MB is needed")


def parse_duration(text: str, field: str = "max_latency") -> float:
    """Milliseconds of "2ms", "800us", "0.1s" or a plain number of milliseconds.

    Raises:
        InputError: if the text is none of these.
    """
    return _parse(text, field, _TIMES, "a time like 2ms or 800us is needed")


def _parse(text: str, field: str, units: Mapping[str, float], allowed: str) -> float:
    found = _QUANTITY.fullmatch(text)
    if found is None or found[2].lower() not in units or float(found[1]) == 0:
        raise InputError(field, text, allowed)
    return float(found[1]) * units[found[2].lower()]
