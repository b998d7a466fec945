"""The one place where stored timings become figures: every latency is on the clock of its pooled baseline.

A machine is faster at one time than at another. A speed-up comes from blocks interleaved with the baseline's and is
free of that; two medians of different times are not. So a latency is the baseline's, pooled from all its pairs on that
target, divided by the artifact's speed-up: the quotient of any two latencies is the quotient of their speed-ups. It is
resolved when a result is read, so that results that are shown together share the baseline's latest figure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from compression.experiments.results import Figures
from compression.metrics.energy import cost_per_million

if TYPE_CHECKING:
    from compression.experiments.results import ExperimentResult

PRICE_PER_CORE_HOUR = 0.04
MOST_SPREAD, _MARKED_SPREAD = 0.15, 0.3
LATENCIES = ("latency_ms_p50", "latency_ms_p95", "latency_low", "latency_high", "speedup")
_DISTURBED = (
    "Disturbed: the machine was busy, so that the interval is wider than 30 % of the median to either side. It is "
    "timed again when another recipe of this model is measured."
)
_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
_DRAWS = 400


@dataclass(frozen=True)
class Timing:
    """One pair of an artifact's structure and its baseline's, timed in interleaved blocks.

    Attributes:
        speedup: Baseline's latency over the artifact's.
        speedup_low: Lower end of its 95 % interval.
        speedup_high: Upper end.
        tail: The artifact's 95th percentile as a multiple of its median.
        baseline_ms: The baseline's median in these blocks.
        baseline_low: Lower end of its 95 % interval.
        baseline_high: Upper end.
        baseline_tail: The baseline's 95th percentile as a multiple of its median.
        rounds: Pairs of blocks.
        tier: "quick" for a first, short timing, or "full".
    """

    speedup: float
    speedup_low: float
    speedup_high: float
    tail: float
    baseline_ms: float
    baseline_low: float
    baseline_high: float
    baseline_tail: float
    rounds: int
    tier: str


def timing_of(stored: Mapping[str, Any]) -> Timing:
    """A stored `compression.metrics.latency.LatencyRecord` with its tier."""
    return Timing(
        stored["speedup"], stored["speedup_low"], stored["speedup_high"], stored["p95_ms"] / stored["p50_ms"],
        stored["baseline_p50_ms"], stored["baseline_low_ms"], stored["baseline_high_ms"],
        stored["baseline_p95_ms"] / stored["baseline_p50_ms"], stored["rounds"], stored["tier"],
    )


@dataclass(frozen=True)
class Clock:
    """All timings of one baseline on one target.

    Attributes:
        timings: By the structure of the artifact that was timed against the baseline.
    """

    timings: Mapping[str, Timing]

    @cached_property
    def baseline(self) -> tuple[float, float, float]:
        """The baseline's median latency in ms with its 95 % interval, pooled from all its pairs.

        The median of the pairs' medians, weighted by their rounds; the interval is that of a bootstrap over pairs,
        smoothed by each pair's own standard error.
        """
        own = list(self.timings.values())
        centers = np.log([timing.baseline_ms for timing in own])
        errors = np.array([np.log(t.baseline_high / t.baseline_low) / (2 * _Z) for t in own])
        weights = np.array([timing.rounds for timing in own], dtype=np.float64)
        middle = _weighted_median(centers, weights)
        rng = np.random.default_rng(0)
        picks = rng.choice(len(own), (_DRAWS, len(own)), p=weights / weights.sum())
        draws = np.median(centers[picks] + errors[picks] * rng.standard_normal(picks.shape), axis=1)
        half = _Z * float(np.std(draws))
        return float(np.exp(middle)), float(np.exp(middle - half)), float(np.exp(middle + half))

    @cached_property
    def baseline_tail(self) -> float:
        """The baseline's 95th percentile as a multiple of its median: the median over its pairs."""
        return float(np.median([timing.baseline_tail for timing in self.timings.values()]))

    def on_baseline(self, figures: Figures, recipe: Mapping[str, Any]) -> Figures:
        """The uncompressed model's figures with its latency."""
        if not self.timings:
            return _untimed(figures)
        middle, low, high = self.baseline
        return _timed(figures, recipe, (middle, low, high), self.baseline_tail, (1.0, 1.0, 1.0))

    def latency(self, structure: str) -> tuple[float, float, float, float] | None:
        """An artifact's latency in ms, and its speed-up with its interval; None where it has not been timed."""
        own = self.timings.get(structure)
        return None if own is None else (
            self.baseline[0] / own.speedup, own.speedup, own.speedup_low, own.speedup_high
        )

    def on_artifact(self, figures: Figures, structure: str, recipe: Mapping[str, Any]) -> Figures:
        """An artifact's figures with its latency and speed-up; without both where it has not been timed."""
        timing = self.timings.get(structure)
        if timing is None:
            return _untimed(figures)
        ratio, low, high = timing.speedup, timing.speedup_low, timing.speedup_high
        base = self.baseline[0]
        return _timed(figures, recipe, (base / ratio, base / high, base / low), timing.tail, (ratio, low, high))

    def resolve(self, result: "ExperimentResult") -> "ExperimentResult":
        """A result with all its latencies on this clock, and marked where these are disturbed."""
        base = self.on_baseline(result.baseline, result.recipe)
        if result.recipe["steps"]:
            own = self.on_artifact(result.figures, result.structure, result.recipe)
        else:
            own = self.on_baseline(result.figures, result.recipe)
        resolved = replace(result, figures=own, baseline=base)
        return _marked(resolved) if is_disturbed(own) or is_disturbed(base) else resolved


def is_disturbed(figures: Figures) -> bool:
    """Whether a latency's interval is so wide that the machine must have been busy."""
    middle, low, high = figures.latency_ms_p50, figures.latency_low, figures.latency_high
    return middle is not None and low is not None and high is not None and high - low > 2 * _MARKED_SPREAD * middle


def _marked(result: "ExperimentResult") -> "ExperimentResult":
    """A result whose latencies say that they are disturbed; preliminary and simulated ones stay that."""
    of = [name for name in LATENCIES if result.badges.get(name) == "measured"]
    return replace(
        result, badges={**result.badges, **dict.fromkeys(of, "disturbed")},
        badge_notes={**result.badge_notes, **dict.fromkeys(of, _DISTURBED)},
    )


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Median of values, (N,), with half of the weight on each side."""
    order = np.argsort(values)
    places = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(weights.sum() / 2, places, values[order]))


def _timed(
    figures: Figures, recipe: Mapping[str, Any], latency: tuple[float, float, float], tail: float,
    speedup: tuple[float, float, float],
) -> Figures:
    runtime = recipe.get("runtime", {})
    per_sample = latency[0] / runtime.get("batch_size", 1)
    return replace(
        figures, latency_ms_p50=latency[0], latency_low=latency[1], latency_high=latency[2],
        latency_ms_p95=tail * latency[0], speedup=speedup[0], speedup_low=speedup[1], speedup_high=speedup[2],
        cost_per_million=cost_per_million(per_sample * runtime.get("threads", 1), PRICE_PER_CORE_HOUR),
    )


def _untimed(figures: Figures) -> Figures:
    return replace(
        figures, latency_ms_p50=None, latency_low=None, latency_high=None, latency_ms_p95=None, speedup=None,
        speedup_low=None, speedup_high=None, cost_per_million=None,
    )
