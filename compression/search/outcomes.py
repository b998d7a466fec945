"""What a trial measured, and how it stands to the limits and to the other trials."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from compression.analysis.pareto import Measured, frontier
from compression.experiments.clock import Clock
from compression.experiments.pairing import Correct, Differences, Scores, accuracy_differences, unpack
from compression.problems import ACCURACY, Quality
from compression.search.hypervolume import growth
from compression.search.spec import Limits

Standing = Literal["front", "dominated", "infeasible"]
REFERENCE_DROP, REFERENCE_SIZE, REFERENCE_LATENCY = 10.0, 1.0, 2.0
_ROUNDING = 1e-9
_DIGITS = 3


@dataclass(frozen=True)
class Outcome:
    """What one artifact measured as a trial, on the first, short timing and without a look at the test split.

    Attributes:
        key: Of its result.
        accuracy: On the validation samples that searches choose by, a fraction.
        accuracy_low: Lower end of the 95 % interval.
        accuracy_high: Upper end.
        n_samples: Predictions on these samples.
        size_bytes: The packed file.
        latency_ms: Median of one inference.
        speedup: Over the uncompressed model, from interleaved blocks.
        speedup_low: Lower end of its 95 % interval.
        speedup_high: Upper end.
        clock: Names the timings that latency and speed-up are read from; empty where they are those above.
        structure: Which of them is this artifact's; empty for the uncompressed model.
        right: Which predictions on the validation samples were right, see `compression.experiments.pairing.pack`.
    """

    key: str
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    n_samples: int
    size_bytes: int
    latency_ms: float
    speedup: float
    speedup_low: float
    speedup_high: float
    clock: str = ""
    structure: str = ""
    right: str = ""

    def on_clock(self, clock: Clock) -> "Outcome":
        """The same with latency and speed-up as they are on its clock now."""
        if not clock.timings:
            return self
        if not self.structure:
            return replace(self, latency_ms=clock.baseline[0])
        found = clock.latency(self.structure)
        if found is None:
            return self
        return replace(self, latency_ms=found[0], speedup=found[1], speedup_low=found[2], speedup_high=found[3])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Standard:
    """The uncompressed model's outcome, which all others are held against, and what its accuracy is."""

    baseline: Outcome
    quality: Quality = ACCURACY

    def drop(self, own: Outcome) -> float:
        """Hundredths of the quality (points of accuracy) lost on the validation samples."""
        return 100 * (self.baseline.accuracy - own.accuracy)

    def latency_ms(self, own: Outcome) -> float:
        """Latency on the baseline's clock: its median divided by the measured speed-up."""
        return self.baseline.latency_ms / own.speedup

    def objectives(self, own: Outcome) -> tuple[float, float, float]:
        """Points lost, bytes, milliseconds: all to be minimised."""
        return self.drop(own), float(own.size_bytes), self.latency_ms(own)

    def violations(self, own: Outcome, limits: Limits) -> dict[str, float]:
        """By limit how far it is exceeded, as a share of it (drops: in points); 0 or less where it is kept."""
        measured = self.measured(own)
        found = {}
        for name, bound in limits.given().items():
            value = measured[name]
            if name == "max_accuracy_drop":
                excess = value - bound
            else:
                excess = bound / value - 1 if name == "min_speedup" else value / bound - 1
            found[name] = 0.0 if abs(excess) < _ROUNDING else excess
        return found

    def measured(self, own: Outcome) -> dict[str, float]:
        """The number that each limit is about, by the limit's name."""
        return {
            "max_accuracy_drop": self.drop(own), "max_size_bytes": float(own.size_bytes),
            "max_latency_ms": self.latency_ms(own), "min_speedup": own.speedup,
        }

    def feasible(self, own: Outcome, limits: Limits) -> bool:
        """Whether all limits are kept, by the measured values."""
        return all(excess <= 0 for excess in self.violations(own, limits).values())

    def standings(self, outcomes: Mapping[int, Outcome], limits: Limits) -> dict[int, Standing]:
        """Of each trial whether it keeps the limits, and whether another that does beats it; ties beat nobody."""
        inside = [n for n, own in outcomes.items() if self.feasible(own, limits)]
        rows = [self._with_intervals(outcomes[n]) for n in inside]
        paired = {0: _differences([outcomes[n] for n in inside]).negated()}
        front = {inside[i] for i in frontier(rows, paired)}
        return {n: "front" if n in front else "dominated" if n in inside else "infeasible" for n in outcomes}

    def _with_intervals(self, own: Outcome) -> list[Measured]:
        accuracy = Measured(own.accuracy, own.accuracy_low, own.accuracy_high)
        speedup = Measured(own.speedup, own.speedup_low, own.speedup_high)
        return [accuracy.negated(), Measured.exact(float(own.size_bytes)), speedup.negated()]

    def volumes(self, outcomes: Sequence[Outcome], limits: Limits) -> list[float]:
        """Hypervolume after each trial, as a share of the box between nothing and the reference point.

        The reference point is ten points lost, the uncompressed size and twice the uncompressed latency. Only trials
        that keep the limits count; gains of accuracy count as none lost.
        """
        rows = [self._normal(own) if self.feasible(own, limits) else None for own in outcomes]
        return growth(rows, (1.0, 1.0, 1.0))

    def _normal(self, own: Outcome) -> tuple[float, float, float]:
        drop, size, latency = self.objectives(own)
        return (
            max(0.0, drop) / REFERENCE_DROP, size / (REFERENCE_SIZE * self.baseline.size_bytes),
            latency / (REFERENCE_LATENCY * self.baseline.latency_ms),
        )

    def nearest(self, outcomes: Sequence[Outcome], limits: Limits) -> Outcome | None:
        """The outcome that exceeds the limits the least: by the largest excess, points of accuracy as tenths."""
        return min(outcomes, key=lambda own: self._excess(own, limits), default=None)

    def _excess(self, own: Outcome, limits: Limits) -> tuple[float, float]:
        excesses = [
            max(0.0, excess) / (REFERENCE_DROP if name == "max_accuracy_drop" else 1.0)
            for name, excess in self.violations(own, limits).items()
        ]
        return max(excesses, default=0.0), sum(excesses)

    def reachable(self, outcomes: Sequence[Outcome], limits: Limits) -> Limits | None:
        """The nearest limits that one of these outcomes keeps, where none keeps those given.

        Accuracy is what people give up last: its limit is only eased where nothing measured keeps it, and then to the
        least loss there is.
        """
        bound = Limits(max_accuracy_drop=limits.max_accuracy_drop)
        accurate = [own for own in outcomes if self.feasible(own, bound)]
        least = min((self.drop(own) for own in outcomes), default=0.0)
        nearest = self.nearest(accurate or [own for own in outcomes if self.drop(own) == least], limits)
        if nearest is None:
            return None
        measured, excesses = self.measured(nearest), self.violations(nearest, limits)
        eased = {name: _eased(name, measured[name]) for name, excess in excesses.items() if excess > 0}
        return replace(limits, **eased)


def _differences(outcomes: Sequence[Outcome]) -> Differences:
    """Differences of validation accuracy between all pairs, sample by sample."""
    scores = (
        Scores(None, Correct(f"{own.n_samples}", unpack(own.right, own.n_samples))) if own.right else None
        for own in outcomes
    )
    return accuracy_differences(tuple(scores))


def _eased(name: str, value: float) -> float:
    """A measured value as a limit that it keeps, in few digits."""
    if value <= 0:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
    whole = math.floor(value / unit) if name == "min_speedup" else math.ceil(value / unit)
    return float(f"{whole * unit:.{_DIGITS}g}")


@dataclass(frozen=True)
class Appraisal:
    """How the outcomes of one search stand.

    Attributes:
        standings: By trial.
        volumes: See `Standard.volumes`.
        nearest: See `Standard.nearest`; None where one keeps the limits.
        reachable: See `Standard.reachable`; None where one keeps the limits.
    """

    standings: Mapping[int, Standing]
    volumes: tuple[float, ...]
    nearest: Outcome | None = None
    reachable: Limits | None = None


@lru_cache(maxsize=16)
def appraise(baseline: Outcome, ended: tuple[tuple[int, Outcome], ...], limits: Limits) -> Appraisal:
    """Judge outcomes, kept until there are others: a page looks once a second, and a thousand trials take a while.

    Args:
        baseline: The uncompressed model.
        ended: Number and outcome of each trial, in the order in which they ended.
        limits: What is asked for.
    """
    standard, told = Standard(baseline), [own for _, own in ended]
    standings = standard.standings(dict(ended), limits)
    volumes = tuple(standard.volumes(told, limits))
    if any(standing != "infeasible" for standing in standings.values()):
        return Appraisal(standings, volumes)
    return Appraisal(standings, volumes, standard.nearest(told, limits), standard.reachable(told, limits))
