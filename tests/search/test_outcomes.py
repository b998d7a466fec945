"""How outcomes stand to limits, to each other, and to limits that are out of reach."""

from dataclasses import replace

import pytest

from compression.recipe import Recipe
from compression.search import reach
from compression.search.outcomes import Outcome, Standard
from compression.search.planning import Planner
from compression.search.space import make_space
from compression.search.spec import Limits
from tests.search.laboratories import BASELINE, made_up, sensitivity_rows, synthetic_result

STANDARD = Standard(BASELINE)


def outcome(accuracy: float, size: int, speedup: float = 1.0, width: float = 0.0) -> Outcome:
    return replace(
        BASELINE, accuracy=accuracy, accuracy_low=accuracy - width, accuracy_high=accuracy + width, size_bytes=size,
        speedup=speedup, speedup_low=speedup, speedup_high=speedup, latency_ms=123.0,
    )


def test_latency_is_on_the_baselines_clock() -> None:
    assert STANDARD.objectives(outcome(0.99, 500, 2.0)) == pytest.approx((1.0, 500, 0.5))


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (Limits(), True), (Limits(max_accuracy_drop=1.0), True), (Limits(max_accuracy_drop=0.9), False),
        (Limits(max_size_bytes=500), True), (Limits(max_size_bytes=499), False),
        (Limits(max_latency_ms=0.5), True), (Limits(max_latency_ms=0.49), False),
        (Limits(min_speedup=2.0), True), (Limits(min_speedup=2.01), False),
        (Limits(max_accuracy_drop=1.0, max_size_bytes=499), False),
    ],
)
def test_a_limit_is_kept_up_to_its_value(limits: Limits, kept: bool) -> None:
    own = outcome(0.99, 500, 2.0)
    assert STANDARD.feasible(own, limits) is kept
    assert all((excess <= 0) == kept for excess in STANDARD.violations(own, limits).values()) or len(limits.given()) > 1


def test_standings_are_those_of_feasible_trials_among_themselves() -> None:
    outcomes = {
        0: outcome(0.99, 500), 1: outcome(0.98, 600), 2: outcome(0.97, 400), 3: outcome(0.5, 10), 4: outcome(0.99, 500),
    }
    found = STANDARD.standings(outcomes, Limits(max_accuracy_drop=5.0))
    assert found == {0: "front", 1: "dominated", 2: "front", 3: "infeasible", 4: "front"}


def test_a_tie_in_accuracy_beats_nobody() -> None:
    outcomes = {0: outcome(0.99, 500, width=0.02), 1: outcome(0.98, 500, width=0.02), 2: outcome(0.9, 500)}
    assert STANDARD.standings(outcomes, Limits()) == {0: "front", 1: "front", 2: "dominated"}


def test_the_hypervolume_counts_what_keeps_the_limits() -> None:
    good, small = outcome(1.0, 500_000, 2.0), outcome(0.95, 100_000, 4.0)
    volumes = STANDARD.volumes([outcome(0.5, 1000), good, small], Limits(max_accuracy_drop=6.0))
    assert volumes == pytest.approx([0.0, 0.5 * 0.75, 0.5 * 0.75 + 0.5 * 0.9 * 0.875 - 0.5 * 0.5 * 0.75])
    assert STANDARD.volumes([good, small], Limits(max_accuracy_drop=1.0))[-1] == pytest.approx(0.375)


def test_the_nearest_exceeds_the_least() -> None:
    limits = Limits(max_accuracy_drop=1.0, max_size_bytes=400_000)
    far, near = outcome(0.5, 400_000), outcome(0.98, 420_000)
    assert STANDARD.nearest([far, near], limits) == near
    assert STANDARD.nearest([], limits) is None


def test_a_limit_that_the_strongest_settings_miss_is_out_of_reach() -> None:
    strongest = [outcome(0.1, 60_000, 3.0), outcome(0.2, 80_000, 5.0)]
    limits = Limits(max_size_bytes=50_000, min_speedup=6.0, max_latency_ms=0.3)
    assert reach.out_of_reach(STANDARD, strongest, limits) == {"max_size_bytes": 60_000, "min_speedup": 5.0}
    assert reach.out_of_reach(STANDARD, strongest, Limits(max_size_bytes=70_000)) == {}
    assert reach.out_of_reach(STANDARD, [], limits) == {}
    size, speed = reach.told({"max_size_bytes": 60_000, "min_speedup": 5.0}, limits)
    assert "50.0 kB" in size and "60.0 kB (measured)" in size
    assert "at least 6 times" in speed and "5 times" in speed and "or less" in speed


def test_probes_are_the_strongest_settings_together_and_alone() -> None:
    space = make_space(Recipe("m", "d"), ("channel_pruning", "quantization", "recovery"), plans=True, planners={})
    together, *alone = [space.build(params) for params in reach.probes(space)]
    assert [len(recipe.steps) for recipe in alone] == [1, 1, 1]
    assert [step.technique for step in together.steps] == ["channel_pruning", "quantization", "recovery"]
    pruned, quantized, recovered = (step.config for step in together.steps)
    assert (pruned.pruning_ratio, quantized.weight_bits, quantized.activation_bits) == (0.9, 2, 8)
    assert recovered.epochs == 0, "a probe does not train"
    assert reach.needed(Limits(min_speedup=2.0)) and not reach.needed(Limits(max_accuracy_drop=1.0))


def test_estimates_say_that_they_are_estimates() -> None:
    planners = {"quantization": Planner(sensitivity_rows())}
    baseline = synthetic_result(Recipe("m", "d"))
    assert reach.rest_bytes(planners["quantization"], baseline) == 100_000
    (told,) = reach.estimates(planners, baseline, Limits(max_accuracy_drop=2.5))
    least = reach.least_size(planners["quantization"], baseline, 2.5)
    assert least is not None and 250_000 < least < 700_000
    assert f"{least / 1000:.1f} kB" in told and "an estimate" in told
    hopeless = {"quantization": Planner([replace(row, accuracy_drop=0.1) for row in sensitivity_rows()])}
    (none,) = reach.estimates(hopeless, baseline, Limits(max_accuracy_drop=2.5))
    assert "every plan is estimated to lose more than 2.5 points" in none
    assert reach.estimates(planners, baseline, Limits()) == []
    assert "no limit" in told and "at most" not in told.split("estimated to lose at most")[-1]
    assert reach.checked([]) == []
    (compared,) = reach.checked([(2.0, 0.5), (1.0, 1.2), (3.0, 0.0)])
    assert "3 plans" in compared and "1.50 points above" in compared and "-0.20 to +3.00" in compared
    (single,) = reach.checked([(0.5, 0.2)])
    assert "1 plan so far" in single and single.endswith("0.30 points above the measured one.")
    assert reach.least_size(planners["quantization"], baseline, 100.0) == 250_000


def test_made_up_outcomes_get_worse_with_strength() -> None:
    space = make_space(Recipe("m", "d"), ("quantization",), plans=False, planners={})
    own = space.dimensions[0]
    found = [made_up(space.build(own.uniform(level))) for level in range(1, 7)]
    assert [o.size_bytes for o in found] == sorted((o.size_bytes for o in found), reverse=True)
    assert [o.accuracy for o in found] == sorted((o.accuracy for o in found), reverse=True)


def test_nearest_limits_ease_costs_before_accuracy_and_are_kept() -> None:
    wanted = Limits(max_accuracy_drop=1.0, max_size_bytes=100, min_speedup=3.0)
    told = [outcome(0.5, 120, 2.9), outcome(0.995, 40_321, 1.4567), outcome(1.0, 90_000)]
    eased = STANDARD.reachable(told, wanted)
    assert eased == Limits(max_accuracy_drop=1.0, max_size_bytes=40_400, min_speedup=1.45)
    assert STANDARD.feasible(told[1], eased)
    lossy = STANDARD.reachable([outcome(0.5, 90), outcome(0.97, 50_000)], replace(wanted, min_speedup=None))
    assert lossy is not None and lossy.max_accuracy_drop == pytest.approx(3.0, abs=0.011), "the least loss there is"
    assert STANDARD.reachable([], wanted) is None
