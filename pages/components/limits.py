"""Limits that a person sets: which points stay within them, and which of these is the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compression.experiments import Figures
from pages.components.axes import ACCURACY, COSTS, MAE, R2, Axis, qualities_of
from pages.components.charts import Mark

Limits = Mapping[str, float]


@dataclass(frozen=True)
class Limit:
    """One limit that can be set.

    Attributes:
        key: Name in the URL.
        label: Name for people, with its unit.
        axis: What is limited; in its unit.
        step: Of the number field.
    """

    key: str
    label: str
    axis: Axis
    step: float

    @property
    def at_least(self) -> bool:
        """Whether more is better, so that the limit is a floor."""
        return not self.axis.less_is_better


LIMITS = (
    Limit("min-accuracy", "Accuracy at least (%)", ACCURACY, 0.1),
    Limit("min-r2", "R2 at least", R2, 0.01),
    Limit("max-mae", "Mean absolute error at most", MAE, 0.01),
    Limit("max-size", "Packed size at most (kB)", COSTS["size_bytes"], 10.0),
    Limit("max-latency", "Latency at most (ms)", COSTS["latency_ms_p50"], 0.1),
    Limit("min-speedup", "Speed-up at least (times)", COSTS["speedup"], 0.1),
)


_OF_QUALITY = (ACCURACY, R2, MAE)


def limits_of(task: str) -> tuple[Limit, ...]:
    """Limits that can be set for models of a task."""
    return tuple(limit for limit in LIMITS if limit.axis not in _OF_QUALITY or limit.axis in qualities_of(task))


def within(mark: Mark, limits: Limits) -> bool:
    """Whether a point keeps all limits by its values; one that is not measured yet does not."""
    for limit in LIMITS:
        if limit.key in limits:
            measured = limit.axis.read(mark.figures)
            if measured is None:
                return False
            value, bound = measured.value, limits[limit.key]
            if value < bound if limit.at_least else value > bound:
                return False
    return True


def best_within(marks: Sequence[Mark], limits: Limits, cost: Axis, quality: Axis) -> Mark | None:
    """The point within all limits with the least cost; among equals the one of most quality."""

    def order(mark: Mark) -> tuple[float, float]:
        measured = [axis.objective(mark.figures) for axis in (cost, quality)]
        return tuple(float("inf") if own is None else own.value for own in measured)  # type: ignore[return-value]

    return min((mark for mark in marks if within(mark, limits)), key=order, default=None)


def bound_of(axis: Axis, limits: Limits, baseline: Figures | None = None) -> float | None:
    """The limit set on an axis, in its unit; the tighter one where two say the same thing.

    Latency and speed-up are two words for one measurement, so that a limit of one is a limit of the other.

    Args:
        axis: The axis.
        limits: All limits that are set.
        baseline: The uncompressed model's figures, which turn speed-up into latency.
    """
    bounds = [limits[limit.key] for limit in LIMITS if limit.axis is axis and limit.key in limits]
    unit = None if baseline is None else baseline.latency_ms_p50
    other = {"latency_ms_p50": "min-speedup", "speedup": "max-latency"}.get(axis.key, "")
    if unit and limits.get(other):
        bounds.append(unit / limits[other])
    return (min if axis.less_is_better else max)(bounds) if bounds else None
