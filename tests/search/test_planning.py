"""The dynamic programming over layers, held against every possible choice."""

import itertools
import random

import pytest

from compression.search.planning import Planner, allocate
from tests.search.laboratories import BITS, LAYERS, sensitivity_rows

Options = list[list[tuple[float, float]]]


def cheapest_error(options: Options, budget: float) -> float | None:
    """The least sum of errors by trying all choices."""
    sums = [
        (sum(cost for cost, _ in chosen), sum(error for _, error in chosen))
        for chosen in itertools.product(*options)
    ]
    return min((error for cost, error in sums if cost <= budget), default=None)


def drawn(seed: int, largest: int, whole: bool = True) -> tuple[Options, float]:
    source = random.Random(seed)
    options: Options = []
    for _ in range(source.randint(1, 6)):
        costs = [source.randint(1, largest) if whole else source.uniform(1, largest) for _ in range(4)]
        options.append([(float(cost), source.random()) for cost in costs])
    least, most = (sum(end(cost for cost, _ in own) for own in options) for end in (min, max))
    return options, source.uniform(0.8 * least, most)


@pytest.mark.parametrize("seed", range(60))
def test_whole_costs_are_allocated_as_well_as_by_trying_everything(seed: int) -> None:
    options, budget = drawn(seed, 40)
    picks, best = allocate(options, budget), cheapest_error(options, budget)
    assert (picks is None) == (best is None)
    if picks is not None:
        assert sum(own[pick][0] for own, pick in zip(options, picks, strict=True)) <= budget
        assert sum(own[pick][1] for own, pick in zip(options, picks, strict=True)) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(60))
def test_with_few_totals_kept_it_stays_within_the_budget(seed: int) -> None:
    options, budget = drawn(seed, 1_000_000, whole=False)
    best, exact, thinned = cheapest_error(options, budget), allocate(options, budget), allocate(options, budget, 12)
    assert (thinned is None) == (exact is None) == (best is None)
    if exact is not None and thinned is not None and best is not None:
        assert sum(own[pick][1] for own, pick in zip(options, exact, strict=True)) == pytest.approx(best)
        assert sum(own[pick][0] for own, pick in zip(options, thinned, strict=True)) <= budget + 1e-3
        assert sum(own[pick][1] for own, pick in zip(options, thinned, strict=True)) >= best - 1e-9


def test_many_layers_are_allocated_about_as_well_as_with_all_totals() -> None:
    source = random.Random(0)
    options = [[(source.uniform(1, 1e6), source.random()) for _ in range(6)] for _ in range(60)]
    budget = 1.5 * sum(min(cost for cost, _ in own) for own in options)
    errors = []
    for most in (1024, 8192):
        picks = allocate(options, budget, most)
        assert picks is not None
        assert sum(own[pick][0] for own, pick in zip(options, picks, strict=True)) <= budget + 1e-3
        errors.append(sum(own[pick][1] for own, pick in zip(options, picks, strict=True)))
    assert errors[1] <= errors[0] <= 1.01 * errors[1]


def test_a_budget_below_the_cheapest_has_no_plan() -> None:
    assert allocate([[(2.0, 0.0)], [(3.0, 0.0), (4.0, 0.0)]], 4.9) is None
    assert allocate([[(2.0, 0.0)], [(3.0, 0.5), (4.0, 0.0)]], 5.0) == [0, 0]
    assert allocate([[(2.0, 0.0)], [(3.0, 0.5), (4.0, 0.0)]], 6.0) == [0, 1]


def test_plans_spend_bytes_where_they_are_minded() -> None:
    planner = Planner(sensitivity_rows())
    assert planner.layers == LAYERS
    assert (planner.least_bytes, planner.most_bytes) == (150_000, 600_000)
    assert set(planner.at(0.0).values.values()) == {2}
    assert set(planner.at(1.0).values.values()) == {8}
    middle = planner.at(0.5)
    bits = [middle.values[fqn] for fqn in LAYERS]
    assert bits == sorted(bits) and middle.size_bytes <= 300_000
    rows = {(row.fqn, row.value): row for row in sensitivity_rows()}
    options = [[(float(rows[fqn, b].size_bytes), rows[fqn, b].error) for b in BITS] for fqn in LAYERS]
    own = sum(rows[fqn, middle.values[fqn]].error for fqn in LAYERS)
    assert own == pytest.approx(cheapest_error(options, 300_000))
    drops = [rows[f, middle.values[f]].accuracy_drop for f in LAYERS]
    assert middle.accuracy_drop == pytest.approx(sum(drop**2 for drop in drops) ** 0.5)


def test_shares_and_bytes_are_two_names_of_one_budget() -> None:
    planner = Planner(sensitivity_rows())
    assert planner.share_of(150_000) == 0.0
    assert planner.share_of(600_000) == 1.0
    assert planner.share_of(300_000) == pytest.approx(0.5)
    assert planner.share_of(1) == 0.0
    assert planner.within(149_999) is None
