"""Limits that a person sets: which points stay within them, and which of these is the best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from compression.analysis.pareto import Measured
from compression.service import Figures
from pages.explore.charts import Mark
from pages.shared.axes import ACCURACY, COSTS, MAE, R2, Axis, qualities_of

Limits = Mapping[str, float]
SMALLEST, FASTEST, MOST_ACCURATE = "smallest", "fastest", "most accurate"
OBJECTIVES = (SMALLEST, FASTEST, MOST_ACCURATE)


@dataclass(frozen=True)
class Limit:
    """One limit that can be set.

    Attributes:
        key: Name in the URL.
        label: Name for people, with its unit.
        axis: What is limited; in its unit.
        step: Of the number field.
        relative: From the limit to one in the axis' unit, given the uncompressed model's figures; None where the limit
            is in that unit itself.
        fair: Whether a point's figures can be held against the uncompressed model's.
    """

    key: str
    label: str
    axis: Axis
    step: float
    relative: Callable[[float, Figures], float] | None = None
    fair: Callable[[Figures, Figures], bool] = lambda figures, baseline: True

    @property
    def name(self) -> str:
        """What is limited, within a sentence: the label without unit and direction."""
        first = self.label.partition(" at ")[0]
        return first if first.isupper() else first[0].lower() + first[1:]

    @property
    def at_least(self) -> bool:
        """Whether the limited figure has a floor: more of it is better."""
        return not self.axis.less_is_better

    def bound(self, value: float, baseline: Figures | None) -> float | None:
        """The limit in the axis' unit; None where the uncompressed model's figures are needed and not there."""
        if self.relative is None:
            return value
        known = baseline is not None and self.axis.read(baseline) is not None
        return self.relative(value, baseline) if known and baseline is not None else None


def _same_samples(figures: Figures, baseline: Figures) -> bool:
    return figures.n_samples == baseline.n_samples


_MAX_DROP = "max-drop"
RELATIVE = (
    Limit(
        _MAX_DROP, "Accuracy lost at most (points)", ACCURACY, 0.1,
        lambda points, baseline: 100 * baseline.accuracy - points, _same_samples,
    ),
    Limit("min-speedup", "Speed-up at least (times)", COSTS["speedup"], 0.1),
    Limit(
        "max-share", "Packed size at most (% of uncompressed)", COSTS["size_bytes"], 5.0,
        lambda percent, baseline: percent / 100 * baseline.size_bytes / 1000,
    ),
)
ABSOLUTE = (
    Limit("min-accuracy", "Accuracy at least (%)", ACCURACY, 0.1),
    Limit("min-r2", "R2 at least", R2, 0.01),
    Limit("max-mae", "Mean absolute error at most", MAE, 0.01),
    Limit("max-latency", "Latency at most (ms)", COSTS["latency_ms_p50"], 0.1),
    Limit("max-size", "Packed size at most (kB)", COSTS["size_bytes"], 10.0),
)
LIMITS = (*RELATIVE, *ABSOLUTE)
_ROUNDING = 1e-9


_OF_QUALITY = (ACCURACY, R2, MAE)


def limits_of(task: str) -> tuple[Limit, ...]:
    """Limits that can be set for models of a task."""
    return tuple(limit for limit in LIMITS if limit.axis not in _OF_QUALITY or limit.axis in qualities_of(task))


def within(mark: Mark, limits: Limits, baseline: Figures | None = None) -> bool:
    """Whether a point keeps all limits by its values; one whose figures are not there yet does not.

    Args:
        mark: The point.
        limits: The limits that are set.
        baseline: The uncompressed model's figures, for limits relative to them.
    """
    for limit in LIMITS:
        if limit.key not in limits:
            continue
        measured, bound = limit.axis.read(mark.figures), limit.bound(limits[limit.key], baseline)
        if measured is None or bound is None or (baseline is not None and not limit.fair(mark.figures, baseline)):
            return False
        slack = _ROUNDING * abs(bound)  # 93.3 - 1.0 is not 92.3 to the last bit
        if measured.value < bound - slack if limit.at_least else measured.value > bound + slack:
            return False
    return True


def tied_limits(mark: Mark, limits: Limits, baseline: Figures | None = None) -> list[Limit]:
    """Limits that lie inside a point's 95 % interval, so that it may keep them or not.

    The accuracy lost is compared by its paired interval where that is known.

    Args:
        mark: The point; the uncompressed model itself is no tie of anything.
        limits: The limits that are set.
        baseline: The uncompressed model's figures, for limits relative to them.
    """
    tied = []
    for limit in (own for own in LIMITS if own.key in limits and mark.kind != "baseline"):
        measured, bound = limit.axis.read(mark.figures), limit.bound(limits[limit.key], baseline)
        if limit.key == _MAX_DROP and mark.change is not None:
            change = mark.change
            measured, bound = Measured(100 * change.value, 100 * change.low, 100 * change.high), -limits[limit.key]
        if measured is not None and bound is not None and measured.low < bound < measured.high:
            tied.append(limit)
    return tied


def best_within(
    marks: Sequence[Mark], limits: Limits, objective: str = SMALLEST, baseline: Figures | None = None,
    quality: Axis = ACCURACY,
) -> Mark | None:
    """The best point within all limits; the uncompressed model only where no other one is.

    Args:
        marks: All points.
        limits: The limits that are set.
        objective: One of `OBJECTIVES`. Among equals the more accurate one is better, or the smaller one where it is
            accuracy that counts.
        baseline: The uncompressed model's figures.
        quality: What accuracy is called for the task.
    """
    first, *others = {
        SMALLEST: (COSTS["size_bytes"], quality, COSTS["latency_ms_p50"]),
        FASTEST: (COSTS["latency_ms_p50"], quality, COSTS["size_bytes"]),
        MOST_ACCURATE: (quality, COSTS["size_bytes"], COSTS["latency_ms_p50"]),
    }[objective]

    def order(mark: Mark) -> tuple[object, ...]:
        measured = [axis.objective(mark.figures) for axis in (first, *others)]
        return mark.kind == "baseline", *(float("inf") if own is None else own.value for own in measured)

    return min((mark for mark in marks if within(mark, limits, baseline)), key=order, default=None)


def bound_of(axis: Axis, limits: Limits, baseline: Figures | None = None) -> float | None:
    """The limit set on an axis, in its unit; the tighter one where two say the same thing.

    Latency and speed-up are two words for one measurement, so that a limit of one is a limit of the other.

    Args:
        axis: The axis.
        limits: All limits that are set.
        baseline: The uncompressed model's figures, which turn speed-up into latency and relative limits into others.
    """
    found = [own.bound(limits[own.key], baseline) for own in LIMITS if own.axis is axis and own.key in limits]
    bounds = [bound for bound in found if bound is not None]
    unit = None if baseline is None else baseline.latency_ms_p50
    other = {"latency_ms_p50": "min-speedup", "speedup": "max-latency"}.get(axis.key, "")
    if unit and limits.get(other):
        bounds.append(unit / limits[other])
    return (min if axis.less_is_better else max)(bounds) if bounds else None
