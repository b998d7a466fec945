"""Pareto fronts of measured points, where overlapping intervals are ties and no wins."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Measured:
    """One objective of one point with its 95 % interval; an exact number is its own interval.

    Attributes:
        value: What was measured.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> "Measured":
        """A number without uncertainty (bytes, counts)."""
        return cls(value, value, value)

    def negated(self) -> "Measured":
        """The same objective turned round, for those where more is better."""
        return Measured(-self.value, -self.high, -self.low)


def ties(a: Measured, b: Measured) -> bool:
    """Whether two measurements cannot be told apart: their intervals overlap."""
    return a.low <= b.high and b.low <= a.high


def dominates(a: Sequence[Measured], b: Sequence[Measured]) -> bool:
    """Whether a beats b; every objective is to be minimised.

    It does if it is nowhere worse by value and somewhere clearly better, that is with intervals that do not overlap.
    """
    pairs = list(zip(a, b, strict=True))
    return all(x.value <= y.value for x, y in pairs) and any(
        x.value < y.value and not ties(x, y) for x, y in pairs
    )


def frontier(points: Sequence[Sequence[Measured]]) -> list[int]:
    """Indices of the points that no other beats, by the first objective and then the others.

    Args:
        points: One row of objectives per point, all to be minimised.
    """
    if not points:
        return []
    numbers = np.array([[(o.value, o.low, o.high) for o in row] for row in points])
    value, low, high = numbers[..., 0], numbers[..., 1], numbers[..., 2]
    kept = [i for i in range(len(points)) if not _beaten(value, low, high, i)]
    return sorted(kept, key=lambda i: tuple(objective.value for objective in points[i]))


def _beaten(value: np.ndarray, low: np.ndarray, high: np.ndarray, i: int) -> bool:
    """Whether any row dominates row i; `dominates` for all rows at once."""
    clear = (value < value[i]) & ~((low <= high[i]) & (low[i] <= high))
    return bool(((value <= value[i]).all(axis=1) & clear.any(axis=1)).any())


def knee(points: Sequence[Sequence[float]]) -> int | None:
    """Index of the point of a front from which both objectives soon get worse.

    The one farthest below the line between the two ends, both objectives scaled to one (Satopaa et al., "Finding a
    'Kneedle' in a haystack", 2011).

    Args:
        points: Rows of two objectives, both to be minimised.

    Returns:
        None where no point lies below that line.
    """
    if len(points) < 3:
        return None
    ends = min(points, key=lambda p: (p[0], p[1])), min(points, key=lambda p: (p[1], p[0]))
    width, height = ends[1][0] - ends[0][0], ends[0][1] - ends[1][1]
    if width <= 0 or height <= 0:
        return None
    below = [1 - (x - ends[0][0]) / width - (y - ends[1][1]) / height for x, y in points]
    best = max(range(len(points)), key=below.__getitem__)
    return best if below[best] > 1e-9 else None
