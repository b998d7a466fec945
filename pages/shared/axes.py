"""What can be drawn on an axis: how to read it from the figures, its unit and which direction is better."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from compression.analysis.pareto import Measured
from compression.service import Figures


@dataclass(frozen=True)
class Axis:
    """One figure as a plot axis.

    Attributes:
        key: Name in the URL and of the badge.
        title: Name for people.
        unit: Unit of the drawn numbers.
        read: The number with its interval in the drawn unit, or None where it is not known.
        less_is_better: Direction of improvement.
        digits: Plotly number format.
        compared: What points are told apart by, where that is not the drawn number.
    """

    key: str
    title: str
    unit: str
    read: Callable[[Figures], Measured | None]
    less_is_better: bool = True
    digits: str = ".4~g"
    compared: Callable[[Figures], Measured | None] | None = None

    @property
    def label(self) -> str:
        """Title with unit and direction."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.title}{unit}, {'lower' if self.less_is_better else 'higher'} is better"

    def objective(self, figures: Figures) -> Measured | None:
        """The number turned so that lower is better."""
        measured = None if self.compared is None else self.compared(figures)
        measured = self.read(figures) if measured is None else measured
        return measured if measured is None or self.less_is_better else measured.negated()


def _exact(name: str, scale: float = 1.0) -> Callable[[Figures], Measured | None]:
    def read(figures: Figures) -> Measured | None:
        value = getattr(figures, name)
        return None if value is None else Measured.exact(value * scale)

    return read


def _interval(name: str, low: str, high: str, scale: float = 1.0) -> Callable[[Figures], Measured | None]:
    def read(figures: Figures) -> Measured | None:
        value = getattr(figures, name)
        if value is None:
            return None
        ends = [getattr(figures, end) for end in (low, high)]
        below, above = (value if end is None else end for end in ends)
        return Measured(value * scale, below * scale, above * scale)

    return read


def _relative_latency(figures: Figures) -> Measured | None:
    """Latency as a multiple of the baseline's, whose uncertainty all points of a plot share."""
    ratio = figures.speedup
    if not ratio:
        return None
    return Measured(1 / ratio, 1 / (figures.speedup_high or ratio), 1 / (figures.speedup_low or ratio))


_ALL = (
    Axis("size_bytes", "Packed size", "kB", _exact("size_bytes", 1e-3)),
    Axis("runtime_size_bytes", "ONNX size", "kB", _exact("runtime_size_bytes", 1e-3)),
    Axis(
        "latency_ms_p50", "Latency, median", "ms", _interval("latency_ms_p50", "latency_low", "latency_high"),
        compared=_relative_latency,
    ),
    Axis("latency_ms_p95", "Latency, 95th percentile", "ms", _exact("latency_ms_p95")),
    Axis("speedup", "Speed-up", "times", _interval("speedup", "speedup_low", "speedup_high"), less_is_better=False),
    Axis("macs", "Multiply-accumulates", "millions", _exact("macs", 1e-6)),
    Axis("parameters", "Parameters", "thousands", _exact("parameters", 1e-3)),
    Axis("nonzero_parameters", "Non-zero parameters", "thousands", _exact("nonzero_parameters", 1e-3)),
    Axis("peak_memory_bytes", "Peak memory", "MB", _exact("peak_memory_bytes", 1e-6)),
    Axis("energy_mj", "Energy, estimated", "mJ", _exact("energy_mj")),
    Axis("energy_measured_mj", "Energy of the processor, measured", "mJ", _exact("energy_measured_mj")),
    Axis("cost_per_million", "Cost per million, estimated", "", _exact("cost_per_million")),
)
COSTS = {axis.key: axis for axis in _ALL}
_HEADROOM = 0.08
ACCURACY = Axis(
    "accuracy", "Accuracy", "%", _interval("accuracy", "accuracy_low", "accuracy_high", 100.0),
    less_is_better=False, digits=".2f",
)
BITS = Axis("bits_per_character", "Bits per character", "bits", _exact("bits_per_character"))
R2 = Axis("r2", "R2", "", _interval("accuracy", "accuracy_low", "accuracy_high"), less_is_better=False, digits=".4f")
MAE = Axis(
    "mean_absolute_error", "Mean absolute error", "",
    _interval("mean_absolute_error", "mean_absolute_error_low", "mean_absolute_error_high"),
)
QUALITIES = {axis.key: axis for axis in (ACCURACY, BITS, R2, MAE)}
_BY_TASK = {"language_modeling": (ACCURACY, BITS), "regression": (R2, MAE)}


def qualities_of(task: str) -> tuple[Axis, ...]:
    """What can be drawn upwards of a task's models, the usual one first."""
    return _BY_TASK.get(task, (ACCURACY,))


def quality_axis(figures: Figures) -> Axis:
    """The axis of the quality that figures hold."""
    return QUALITIES.get(figures.quality, ACCURACY)


def percent_top(low: float) -> float:
    """Where an axis of percentages ends at the latest: room for marks at 100 %, yet no tick above it.

    Plotly draws at most ten ticks, which divide 100 evenly: the next one after 100 % lies beyond this.

    Args:
        low: The least percentage on the axis.
    """
    return 100.0 + _HEADROOM * ((100.0 - low) if low < 100.0 else 1.0)


def percent_axis(lows: Iterable[float]) -> dict[str, object]:
    """Settings of a plot's axis of percentages, by the least ones drawn on it: see `percent_top`."""
    return {"autorangeoptions": {"clipmax": percent_top(min(lows, default=0.0))}}
