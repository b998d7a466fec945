"""Hypervolume: how much of the space of objectives a set of points covers."""

from collections.abc import Sequence

Point = Sequence[float]


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Volume that points dominate up to a reference point (Zitzler and Thiele 1998), by slicing.

    Args:
        points: Rows of objectives, all to be minimised.
        reference: The worst point that counts; what is not better than it everywhere adds nothing.

    Returns:
        0 without points; exact for any number of objectives, meant for some hundreds of points and few objectives.
    """
    inside = [tuple(p) for p in points if all(own < worst for own, worst in zip(p, reference, strict=True))]
    return _volume(sorted(set(inside)), tuple(reference))


def _volume(points: list[tuple[float, ...]], reference: tuple[float, ...]) -> float:
    """Slices along the first objective, in whose order the points come."""
    if not points:
        return 0.0
    if len(reference) == 1:
        return reference[0] - points[0][0]
    total, seen = 0.0, []
    for number, point in enumerate(points):
        end = points[number + 1][0] if number + 1 < len(points) else reference[0]
        seen = _front([*seen, point[1:]])
        if end > point[0]:
            total += (end - point[0]) * _volume(sorted(seen), reference[1:])
    return total


def _front(points: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Points that no other equals or beats everywhere."""
    kept: list[tuple[float, ...]] = []
    for point in sorted(set(points)):
        if not any(all(a <= b for a, b in zip(other, point, strict=True)) for other in kept):
            kept.append(point)
    return kept


def growth(points: Sequence[Point | None], reference: Point) -> list[float]:
    """The hypervolume after each of a sequence of points.

    Args:
        points: In the order in which they were found; None where one does not count.
        reference: See `hypervolume`.
    """
    volumes, found, last = [], [], 0.0
    for point in points:
        if point is not None and not any(all(a <= b for a, b in zip(p, point, strict=True)) for p in found):
            found.append(tuple(point))
            last = hypervolume(found, reference)
        volumes.append(last)
    return volumes
