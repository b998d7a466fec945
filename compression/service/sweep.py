"""Recipes that differ in one knob."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from compression.core.errors import InputError
from compression.recipe import Recipe, Step
from compression.techniques import get_technique


def vary(recipe: Recipe, technique: str, knob: str, values: Sequence[Any]) -> list[Recipe]:
    """The recipe with one knob set to each value; a step of the technique is appended if there is none.

    Raises:
        InputError: if the technique or knob is unknown or a value is out of range.
    """
    config_type = get_technique(technique).config_type
    if knob not in config_type.__dataclass_fields__:
        allowed = ", ".join(config_type.__dataclass_fields__)
        raise InputError(f"{technique}.{knob}", values, f"allowed knobs: {allowed}")
    found = [i for i, step in enumerate(recipe.steps) if step.technique == technique]
    steps = recipe.steps if found else (*recipe.steps, Step(technique, config_type()))
    index = found[0] if found else len(recipe.steps)

    def with_value(value: Any) -> Recipe:
        step = replace(steps[index], config=replace(steps[index].config, **{knob: value}))
        return replace(recipe, steps=(*steps[:index], step, *steps[index + 1 :]))

    return [with_value(value) for value in values]
