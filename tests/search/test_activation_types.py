"""Types of activations: integers come first, and what gains nothing on the target is tried once and left."""

from dataclasses import replace
from typing import Any

import pytest

from compression.recipe import Recipe
from compression.search.activation_types import Tried, first_trials, with_gaining_types
from compression.search.space import OFF, UNIFORM, Params, Space, make_space
from compression.search.spec import Limits
from tests.search.laboratories import BASELINE

FAST, SLOW = replace(BASELINE, speedup=2.0, speedup_low=1.9), replace(BASELINE, speedup=0.8, speedup_low=0.7)
SPEED, ANY, SIZE = Limits(min_speedup=1.5), Limits(max_accuracy_drop=1.0), Limits(max_size_bytes=1e6)


@pytest.fixture(scope="module")
def space() -> Space:
    return make_space(Recipe("m", "d"), ("channel_pruning", "quantization"), plans=False, planners={})


def choice(bits: int, level: int = 2, pruning: Any = OFF) -> Params:
    return {
        "channel_pruning": pruning, "quantization": UNIFORM, "quantization.weight_bits": level,
        "quantization.activation_bits": bits,
    }


INTEGERS = Tried(choice(8), FAST, running=False)


def test_the_first_trial_is_the_mildest_with_integer_activations(space: Space) -> None:
    (params,) = first_trials(space)
    (step,) = space.build(params).steps
    assert (step.config.weight_bits, step.config.activation_bits) == (8, 8)


def test_a_type_that_was_slower_is_left(space: Space) -> None:
    slow = [INTEGERS, Tried(choice(16), SLOW, running=False)]
    for limits in (SPEED, ANY):
        assert with_gaining_types(space, choice(16), slow, limits) == choice(8)
        assert with_gaining_types(space, choice(8), slow, limits) == choice(8)
    assert with_gaining_types(space, choice(16), slow, SIZE) == choice(16), "size alone is asked for"


def test_a_type_that_was_faster_stays(space: Space) -> None:
    fast = [INTEGERS, Tried(choice(16), FAST, running=False)]
    assert with_gaining_types(space, choice(16), fast, SPEED) == choice(16)


def test_a_new_type_is_tried_alone_and_once_at_a_time(space: Space) -> None:
    wanted = {**choice(16, pruning=UNIFORM), "channel_pruning.pruning_ratio": 3}
    assert with_gaining_types(space, wanted, [INTEGERS], ANY) == choice(16)
    under_way = [INTEGERS, Tried(choice(16), None, running=True)]
    assert with_gaining_types(space, choice(16), under_way, ANY) == choice(8)


def test_float_activations_are_left_where_speed_is_asked_for_and_integers_have_it(space: Space) -> None:
    assert with_gaining_types(space, choice(32), [INTEGERS], SPEED) == choice(8)
    assert with_gaining_types(space, choice(32), [INTEGERS], ANY) == choice(32)
    slow = [Tried(choice(8), SLOW, running=False)]
    assert with_gaining_types(space, choice(32), slow, SPEED) == choice(32)


def test_a_level_that_does_not_go_with_integers_is_moved_to_one_that_does(space: Space) -> None:
    """16-bit weights with 8-bit activations would run in float."""
    assert with_gaining_types(space, choice(8, level=0), [INTEGERS], SPEED) == choice(8, level=1)
