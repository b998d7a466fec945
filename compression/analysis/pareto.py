"""Pareto fronts of measured points, where what cannot be told apart is a tie and no win."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compression.experiments.pairing import Differences


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
        """The same objective turned round, for those where higher is better."""
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


def frontier(
    points: Sequence[Sequence[Measured]], paired: Mapping[int, Differences] | None = None
) -> list[int]:
    """Indices of the points that no other beats, by the first objective and then the others.

    Args:
        points: One row of objectives per point, all to be minimised.
        paired: By the place of an objective the differences between all points, where they were measured on the same
            samples; these then decide, and not whether two intervals overlap.
    """
    if not points:
        return []
    numbers = np.array([[(o.value, o.low, o.high) for o in row] for row in points])
    count, objectives = numbers.shape[:2]
    no_worse, clear = np.ones((count, count), dtype=bool), np.zeros((count, count), dtype=bool)
    for place in range(objectives):
        value, low, high = numbers[:, place].T
        at_most = value[:, None] <= value[None, :]
        below = (value[:, None] < value[None, :]) & (high[:, None] < low[None, :])
        own = None if paired is None else paired.get(place)
        if own is not None:
            known = ~np.isnan(own.value)
            at_most = np.where(known, own.value <= 0, at_most)
            below = np.where(known, own.high < 0, below)
        no_worse &= at_most
        clear |= below
    beaten = (no_worse & clear).any(axis=0)
    kept = np.flatnonzero(~beaten).tolist()
    return sorted(kept, key=lambda i: tuple(objective.value for objective in points[i]))


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
