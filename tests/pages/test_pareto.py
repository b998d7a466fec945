"""The frontier: who beats whom, and that ties are no wins."""

from hypothesis import given
from hypothesis import strategies as st

from compression.analysis.pareto import Measured, dominates, frontier, ties

exact = Measured.exact


def near(value: float, margin: float) -> Measured:
    return Measured(value, value - margin, value + margin)


def test_smaller_at_equal_accuracy_wins() -> None:
    small, large = (exact(100.0), near(-98.0, 1.0)), (exact(200.0), near(-98.0, 1.0))
    assert dominates(small, large)
    assert not dominates(large, small)


def test_overlapping_latencies_and_accuracies_are_a_tie() -> None:
    a, b = (near(1.00, 0.02), near(-98.0, 1.0)), (near(1.01, 0.02), near(-97.9, 1.0))
    assert not dominates(a, b)
    assert not dominates(b, a)
    assert frontier([a, b]) == [0, 1]


def test_a_clear_win_needs_disjoint_intervals_in_one_objective_only() -> None:
    fast, slow = (near(1.0, 0.02), near(-98.0, 1.0)), (near(2.0, 0.02), near(-97.9, 1.0))
    assert dominates(fast, slow)


def test_better_accuracy_by_value_keeps_a_larger_point() -> None:
    small, large = (exact(100.0), near(-97.9, 1.0)), (exact(200.0), near(-98.0, 1.0))
    assert frontier([large, small]) == [1, 0]


def test_negation_turns_the_interval_round() -> None:
    assert Measured(5.0, 4.0, 7.0).negated() == Measured(-5.0, -7.0, -4.0)


numbers = st.floats(-100, 100)
rows = st.lists(st.tuples(numbers, numbers, st.floats(0, 5)), min_size=1, max_size=12)


@given(rows)
def test_frontier_is_never_empty_and_nothing_beats_it(data: list[tuple[float, float, float]]) -> None:
    points = [(near(x, margin), near(y, margin)) for x, y, margin in data]
    front = frontier(points)
    assert front
    for i in front:
        assert not any(dominates(other, points[i]) for other in points)
    for i in set(range(len(points))) - set(front):
        assert any(dominates(other, points[i]) for other in points)


@given(st.tuples(numbers, numbers, st.floats(0, 5)), st.tuples(numbers, numbers, st.floats(0, 5)))
def test_points_that_tie_everywhere_never_beat_each_other(
    a: tuple[float, float, float], b: tuple[float, float, float]
) -> None:
    first, second = [(near(x, m), near(y, m)) for x, y, m in (a, b)]
    if all(ties(p, q) for p, q in zip(first, second, strict=True)):
        assert not dominates(first, second)
        assert not dominates(second, first)
