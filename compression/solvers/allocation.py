"""One budget spread over layers by their error curves."""

from collections.abc import Sequence
from itertools import pairwise


def spread_budget(
    levels: Sequence[float], errors: Sequence[Sequence[float]], sizes: Sequence[int], budget: float
) -> list[float]:
    """Fraction of each layer to remove so that the errors sum up to the least.

    Between levels a curve counts as straight, and where it is not convex as its lower hull; on such curves taking
    the cheapest piece first is optimal (fractional knapsack, Dantzig 1957).

    Args:
        levels: Fractions at which the errors are known, ascending from 0.
        errors: One curve per layer, as long as `levels`.
        sizes: Elements of each layer.
        budget: Fraction of all elements to remove, at most the last level.

    Returns:
        A fraction per layer; they sum to the budget exactly, weighted by size.
    """
    pieces = []
    for layer, curve in enumerate(errors):
        hull = _lower_hull(list(zip(levels, curve, strict=True)))
        for (x0, y0), (x1, y1) in pairwise(hull):
            count = (x1 - x0) * sizes[layer]
            pieces.append(((y1 - y0) / count, x0, layer, count))
    taken, left = [0.0] * len(sizes), budget * sum(sizes)
    for _, _, layer, count in sorted(pieces):
        taken[layer] += min(count, left)
        left -= min(count, left)
    return [removed / size for removed, size in zip(taken, sizes, strict=True)]


def _lower_hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    hull: list[tuple[float, float]] = []
    for point in points:
        while len(hull) >= 2 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])
