"""Starting points for kinds of devices: a recipe, the axes that matter there, and limits from the model's figures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compression.service import Figures, ModelInfo, Technique, recipe_from_dict
from pages.explore.limits import LIMITS, limits_of
from pages.shared.axes import COSTS
from pages.shared.url.state import widget_values


@dataclass(frozen=True)
class Preset:
    """A starting point.

    Attributes:
        key: Its short name.
        title: Its name for people.
        says: What such devices need, and which steps follow from that.
        steps: Technique to the knobs that differ from their defaults.
        axes: Costs of the left and the right plot.
        points_lost: Accuracy that may be lost, in points.
        size_share: Largest packed size as a share of the uncompressed one; None for any.
        speedup: Least speed-up; None for any.
    """

    key: str
    title: str
    says: str
    axes: tuple[str, str]
    points_lost: float
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    size_share: float | None = None
    speedup: float | None = None


_INT8 = {"weight_bits": 8, "activation_bits": 8}
PRESETS = (
    Preset(
        "mobile", "Mobile",
        "Phones run 8-bit integers fast, and each megabyte is downloaded: a fifth of the channels is removed, then "
        "weights and activations get 8 bits.",
        ("size_bytes", "latency_ms_p50"), 1.0,
        {"channel_pruning": {"pruning_ratio": 0.2}, "quantization": _INT8}, size_share=1 / 3,
    ),
    Preset(
        "microcontroller", "Microcontroller",
        "Flash and working memory are scarce, and there is integer arithmetic only: half of the channels is removed, "
        "then weights and activations get 8 bits.",
        ("size_bytes", "peak_memory_bytes"), 2.0,
        {"channel_pruning": {"pruning_ratio": 0.5}, "quantization": _INT8}, size_share=1 / 10,
    ),
    Preset(
        "server", "Server",
        "Time per answer is what costs, the file hardly matters, and accuracy has to stay: weights and activations "
        "get 8 bits, nothing is removed.",
        ("latency_ms_p50", "latency_ms_p95"), 0.5, {"quantization": _INT8}, speedup=1.2,
    ),
)


def preset_limits(preset: Preset, baseline: Figures | None) -> dict[str, float]:
    """Limits by their key, in the units of their fields; those that need the uncompressed model's figures only with
    these."""
    limits: dict[str, float] = {}
    if baseline is not None:
        least = math.floor(1000 * baseline.accuracy - 10 * preset.points_lost)
        limits["min-accuracy" if baseline.kind.unit else "min-r2"] = least / (10 if baseline.kind.unit else 1000)
        if preset.size_share is not None:
            limits["max-size"] = _two_digits(preset.size_share * baseline.size_bytes / 1000)
    if preset.speedup is not None:
        limits["min-speedup"] = preset.speedup
    return limits


def _two_digits(number: float) -> float:
    return float(f"{number:.2g}")


def preset_values(
    preset: Preset, info: ModelInfo, techniques: Sequence[Technique], baseline: Figures | None
) -> dict[str, Any]:
    """Values of the widgets: sliders, axes and limits."""
    steps = [{"technique": key, **knobs} for key, knobs in preset.steps.items()]
    recipe = recipe_from_dict({"model": info.name, "dataset": info.dataset, "steps": steps})
    values = widget_values(recipe, [info.name], techniques)
    limits: dict[str, float | None] = {limit.key: None for limit in limits_of(info.task)}
    limits |= preset_limits(preset, baseline)
    left, right = preset.axes
    return values | limits | {"left-axis": left, "right-axis": right}


def reset_values(info: ModelInfo, techniques: Sequence[Technique]) -> dict[str, Any]:
    """Values of the widgets without any technique and limit."""
    recipe = recipe_from_dict({"model": info.name, "dataset": info.dataset})
    return widget_values(recipe, [info.name], techniques) | {limit.key: None for limit in limits_of(info.task)}


def preset_told(preset: Preset, limits: Mapping[str, float]) -> str:
    """What a preset has set, in words."""
    set_now = [limit for limit in LIMITS if limit.key in limits]
    kept = [f"{limit.label[0].lower()}{limit.label[1:]}: {limits[limit.key]:g}" for limit in set_now]
    axes = " and ".join(COSTS[key].title.lower() for key in preset.axes)
    said = f"**{preset.title}.** {preset.says} The plots show {axes}."
    return said + (f" Limits: {'; '.join(kept)}." if kept else "")


def missing_told(preset: Preset, baseline: Figures | None) -> str:
    """What could not be set before the uncompressed model was measured."""
    if baseline is not None:
        return ""
    which = "quality and size" if preset.size_share is not None else "quality"
    return f" Choose it again once the uncompressed model is measured: limits of {which} come from its figures."
