"""The hypervolume, held against counting cells of a grid."""

import itertools
import random

import pytest

from compression.search.hypervolume import growth, hypervolume


def counted(points: list[tuple[int, ...]], reference: tuple[int, ...]) -> int:
    """Unit cells below the reference point that some point dominates."""
    cells = itertools.product(*(range(end) for end in reference))
    return sum(any(all(a <= b for a, b in zip(p, cell, strict=True)) for p in points) for cell in cells)


@pytest.mark.parametrize("seed", range(40))
def test_it_is_what_counting_gives(seed: int) -> None:
    source = random.Random(seed)
    dimensions = source.randint(1, 4)
    reference = tuple(source.randint(2, 6) for _ in range(dimensions))
    points = [tuple(source.randint(0, 6) for _ in range(dimensions)) for _ in range(source.randint(0, 12))]
    assert hypervolume(points, reference) == pytest.approx(counted(points, reference))


def test_it_grows_with_points_that_add_something_only() -> None:
    points = [(0.5, 0.5), None, (0.6, 0.6), (0.25, 0.75), (2.0, 0.0)]
    volumes = growth(points, (1.0, 1.0))
    assert volumes == pytest.approx([0.25, 0.25, 0.25, 0.3125, 0.3125])
    assert [hypervolume([p for p in points[: i + 1] if p], (1.0, 1.0)) for i in range(5)] == pytest.approx(volumes)
    assert growth([], (1.0,)) == []
