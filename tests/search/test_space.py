"""What can be searched is made from the techniques' knobs, and every choice of it is a recipe that can be read back."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from compression.core.errors import InputError
from compression.knobs import knobs_of
from compression.recipe import Recipe, recipe_from_dict, recipe_to_dict
from compression.search.planning import Planner
from compression.search.seeds import seeds
from compression.search.space import OFF, PLANNED, Space, levels, make_space
from compression.search.spec import Limits, SearchSpec, parse_duration, parse_size, searchable, spec_from_dict
from compression.techniques import get_technique
from tests.search.laboratories import LAYERS, sensitivity_rows

RECIPE = Recipe("digits_resnet", "digits")


class RandomTrial:
    """Chooses like a sampler that knows nothing."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._source.choice(choices)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return self._source.randint(low, high)

    def suggest_float(self, name: str, low: float, high: float, *, step: float) -> float:
        return low + step * self._source.randint(0, round((high - low) / step))


def space(*techniques: str, planned: bool = True) -> Space:
    planners = {"quantization": Planner(sensitivity_rows())} if planned else {}
    return make_space(RECIPE, techniques or tuple(searchable()), plans=True, planners=planners)


@pytest.mark.parametrize("planned", [True, False])
def test_every_choice_is_a_recipe(planned: bool) -> None:
    whole, modes = space(planned=planned), set()
    for seed in range(200):
        params = whole.suggest(RandomTrial(seed))
        recipe = whole.build(params)
        assert recipe_from_dict(recipe_to_dict(recipe)) == recipe
        on = [key for key in searchable() if params[key] != OFF]
        assert [step.technique for step in recipe.steps] == on
        modes |= {(key, params[key]) for key in searchable()}
    planned_ones = {key for key, mode in modes if mode == PLANNED}
    assert planned_ones == {"quantization", "weight_sharing", "binarization"}, "others spread their budget themselves"


def test_levels_go_from_weak_to_strong_and_lie_on_the_knobs_steps() -> None:
    for key in ("weight_pruning", "channel_pruning", "low_rank"):
        technique = get_technique(key)
        knob = knobs_of(technique.config_type)[technique.main_knob]
        found = levels(knob)
        assert set(knob.sweep) <= set(found) and len(set(found)) == len(found)
        assert list(found) == sorted(found, reverse=found[0] > found[-1])
        assert all(round(value / knob.step, 6) == round(value / knob.step) for value in found)


def test_a_plan_gives_each_layer_its_setting() -> None:
    own = space("quantization").dimensions[0]
    planner = Planner(sensitivity_rows())
    for share in (0.0, 0.4, 0.5, 0.7, 1.0):
        step = own.step(own.planned(share, activation_bits=8), planner)
        assert step is not None
        settings = {fqn: step.overrides.get(fqn, {}).get("weight_bits", step.config.weight_bits) for fqn in LAYERS}
        assert settings == planner.at(share).values
        assert {LAYERS[0], LAYERS[-1]} <= set(step.overrides), "first and last are named, so that nothing spares them"
        assert step.config.activation_bits == 8


def test_other_choices_that_do_not_go_with_a_level_are_left_out() -> None:
    own = space("quantization").dimensions[0]
    step = own.step(own.uniform(0, activation_bits=8), None)
    assert step is not None and (step.config.weight_bits, step.config.activation_bits) == (16, 32)


def test_seeds_are_plans_around_the_limit_of_size() -> None:
    whole = space("channel_pruning", "quantization")
    found = seeds(whole, Limits(max_size_bytes=310_000.0), {"quantization": 10_000}, 6)
    assert 3 <= len(found) <= 6
    first = whole.build(found[0]).steps
    assert [step.technique for step in first] == ["quantization"]
    planner = whole.planners["quantization"]
    budgets = [params["quantization.budget"] for params in found]
    assert budgets[0] == pytest.approx(0.5)
    assert planner.at(budgets[0]).size_bytes + 10_000 <= 310_000
    assert any(whole.build(params).steps[0].technique == "channel_pruning" for params in found)
    assert seeds(space(planned=False), Limits(), {}, 6) == []


def test_a_spec_survives_json_and_puts_techniques_in_order() -> None:
    spec = SearchSpec("m", "d", ("quantization", "channel_pruning"), Limits(max_size_bytes=3e5), minutes=2.0)
    assert spec.techniques == ("channel_pruning", "quantization")
    assert spec_from_dict(spec.to_dict()) == spec
    assert spec.trials is None and SearchSpec("m", "d", ("quantization",)).trials == 40


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"trials": 0}, "trials"), ({"trials": 2.5}, "trials"), ({"minutes": -1.0}, "minutes"),
        ({"minutes": float("nan")}, "minutes"), ({"techniques": ()}, "techniques"),
        ({"techniques": ("magic",)}, "technique"), ({"techniques": ("quantization", "quantization")}, "each once"),
        ({"strategy": "luck"}, "strategy"), ({"seed": -1}, "seed"),
    ],
    ids=str,
)
def test_wrong_specs_are_refused(changes: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        SearchSpec(**{"model": "m", "dataset": "d", "techniques": ("quantization",), **changes})


@pytest.mark.parametrize("limits", [{"max_size_bytes": 0}, {"max_accuracy_drop": 101}, {"min_speedup": float("inf")}])
def test_wrong_limits_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(limits))):
        Limits(**limits)


def test_sizes_and_times_have_units() -> None:
    assert [parse_size(text) for text in ("300kB", "1.5 MB", "800", "12 B")] == [300_000, 1_500_000, 800, 12]
    assert [parse_duration(text) for text in ("2ms", "800us", "0.1 s", "3")] == [2, pytest.approx(0.8), 100, 3]
    for wrong in ("", "kB", "-3kB", "3 GB/s", "nan", "0", "1e3"):
        with pytest.raises(InputError, match="max_size"):
            parse_size(wrong)
    with pytest.raises(InputError, match="--max-latency"):
        parse_duration("2kB", "--max-latency")
