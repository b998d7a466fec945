"""Recipes: round trip, hash and errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression.core.errors import InputError
from compression.recipe import (
    recipe_from_dict,
    recipe_from_yaml,
    recipe_hash,
    recipe_to_yaml,
)

RECIPE = """
model: digits_resnet
dataset: digits
steps:
  - technique: weight_pruning
    sparsity: 0.3
    layers: {exclude: [conv1]}
    overrides: {fc: {sparsity: 0.1}}
"""


def test_yaml_round_trip_keeps_recipe_and_hash() -> None:
    recipe = recipe_from_yaml(RECIPE)
    again = recipe_from_yaml(recipe_to_yaml(recipe))
    assert again == recipe
    assert recipe_hash(again) == recipe_hash(recipe)
    assert recipe.steps[0].config.sparsity == 0.3
    assert recipe.steps[0].exclude == ("conv1",)


@given(st.floats(0, 0.99), st.floats(0, 0.99))
def test_hash_tells_settings_apart(a: float, b: float) -> None:
    def hashed(sparsity: float) -> str:
        step = {"technique": "weight_pruning", "sparsity": sparsity}
        return recipe_hash(recipe_from_dict({"model": "m", "dataset": "d", "steps": [step]}))

    assert (hashed(a) == hashed(b)) == (a == b)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"technique": "nope"}, "technique"),
        ({"technique": "weight_pruning", "sparsity": 1.5}, "weight_pruning.sparsity"),
        ({"technique": "weight_pruning", "sparsity": "much"}, "weight_pruning.sparsity"),
        ({"technique": "weight_pruning", "sparsity": True}, "weight_pruning.sparsity"),
        ({"technique": "weight_pruning", "sparsity": float("nan")}, "weight_pruning.sparsity"),
        ({"technique": "weight_pruning", "sparsityy": 0.5}, "weight_pruning.sparsityy"),
        ({"technique": "weight_pruning", "overrides": {"fc": {"sparsity": 7}}}, "weight_pruning.sparsity"),
        ({"technique": "weight_pruning", "layers": {"include": "blocks.[0"}}, "layers.include"),
        ({"technique": "weight_pruning", "overrides": {"(": {"sparsity": 0.5}}}, "overrides"),
        ("not a mapping", "steps"),
    ],
)
def test_bad_steps_are_named_in_one_line(change: object, field: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe_from_dict({"model": "m", "dataset": "d", "steps": [change]})
    assert caught.value.field == field
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "3", "!!python/object/apply:os.system ['true']", "model: 3\ndataset: d"])
def test_foreign_text_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        recipe_from_yaml(text)
