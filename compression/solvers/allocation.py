"""One budget spread over layers by their error curves."""

from collections.abc import Sequence
from itertools import pairwise

Curve = Sequence[tuple[float, float]]


def spread_budget(curves: Sequence[Curve], sizes: Sequence[float], budget: float) -> list[float]:
    """Fraction of each layer to remove so that the errors sum up to the least.

    Between points a curve counts as straight, and where it is not convex as its lower hull; on such curves taking
    the cheapest piece first is optimal (fractional knapsack, Dantzig 1957).

    Args:
        curves: Per layer ``(fraction removed, error)``, fractions ascending from 0.
        sizes: What there is to remove in each layer (weights, multiply-accumulates).
        budget: Fraction of all that to remove. Where the curves end before it, all of them are taken.

    Returns:
        A fraction per layer; weighted by size they make the budget.
    """
    pieces = []
    for layer, curve in enumerate(curves):
        for (x0, y0), (x1, y1) in pairwise(_lower_hull(curve)):
            count = (x1 - x0) * sizes[layer]
            pieces.append(((y1 - y0) / count, x0, layer, count))
    taken, left = [0.0] * len(sizes), budget * sum(sizes)
    for _, _, layer, count in sorted(pieces):
        taken[layer] += min(count, left)
        left -= min(count, left)
    return [removed / size for removed, size in zip(taken, sizes, strict=True)]


def _lower_hull(points: Curve) -> list[tuple[float, float]]:
    hull: list[tuple[float, float]] = []
    for point in points:
        while len(hull) >= 2 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])
