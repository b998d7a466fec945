"""What the errors of a regression did between two artifacts."""

from dataclasses import dataclass

import numpy as np

from compression.analysis.behaviour import Behaviour
from compression.core.intervals import mean_interval
from compression.problems import Problem

_BINS = 24


@dataclass(frozen=True)
class ValueChange:
    """Paired differences of a regression, and the distribution of its errors.

    Attributes:
        r2: Change of R2.
        r2_low: Lower end of its 95 % interval (paired bootstrap).
        r2_high: Upper end.
        error: Change of the mean absolute error.
        error_low: Lower end of its 95 % interval (paired t-interval).
        error_high: Upper end.
        edges: Edges of the bins of the errors (prediction minus value).
        before: Samples per bin of the first artifact.
        after: Samples per bin of the second one.
    """

    r2: float
    r2_low: float
    r2_high: float
    error: float
    error_low: float
    error_high: float
    edges: tuple[float, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def tied(self) -> bool:
        """Whether R2 may not have changed at all."""
        return self.r2_low <= 0.0 <= self.r2_high


def value_change(problem: Problem, before: Behaviour, after: Behaviour) -> ValueChange:
    """Compare two artifacts' predictions of the same values."""
    targets = before.targets.astype(np.float64)
    errors = [own.predictions.astype(np.float64) - targets for own in (before, after)]
    change = problem.paired_difference(
        {"predictions": before.predictions}, {"predictions": after.predictions}, before.targets
    )
    more = np.abs(errors[1]) - np.abs(errors[0])
    low, high = mean_interval(more)
    reach = max(float(np.abs(np.concatenate(errors)).max()), 1e-9)
    edges = np.linspace(-reach, reach, _BINS + 1)
    counts = [tuple(np.histogram(own, edges)[0].tolist()) for own in errors]
    return ValueChange(
        change.value, change.low, change.high, float(more.mean()), low, high, tuple(edges.tolist()), *counts
    )
