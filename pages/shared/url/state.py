"""Recipe to widget values and back. Widget keys are the names in the URL, so a view is its address."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from compression.service import (
    InputError,
    Recipe,
    Step,
    Technique,
    default_of,
    knobs_of,
    recipe_from_dict,
    recipe_to_dict,
)

MODEL = "model"
DATA = "data"
EXTRA = "extra"
ORDER = "order"
TEXTS = (EXTRA, ORDER)
POINT = "point"
RESULT = "result"
HELP = "help"
CURRENT = "current-recipe"
_STEP_EXTRAS = ("layers", "overrides")
_RECIPE_EXTRAS = ("seed", "n_samples", "runtime")


def knob_key(technique: str, knob: str) -> str:
    """Widget key and URL name of one knob."""
    return f"{technique}.{knob}"


@dataclass(frozen=True)
class Controls:
    """What the widgets say.

    Attributes:
        model: Name of the model.
        dataset: Name of the dataset.
        enabled: Knob values per enabled technique.
        extra: Parts of a recipe that have no widget: "seed", "n_samples", "runtime", and per technique its
            "layers" and "overrides".
        order: Techniques in the order in which they are applied; the suggested one if it is empty.
    """

    model: str
    dataset: str
    enabled: Mapping[str, Mapping[str, Any]]
    extra: Mapping[str, Any]
    order: Sequence[str] = ()


def recipe_of(controls: Controls, techniques: Sequence[Technique]) -> Recipe:
    """The recipe that the widgets describe.

    Raises:
        InputError: if knobs contradict each other, or the extra parts or the order are no valid ones.
    """
    steps = []
    for technique in techniques:
        if technique.key in controls.enabled:
            extras = controls.extra.get(technique.key, {})
            steps.append({"technique": technique.key, **controls.enabled[technique.key], **extras})
    data: dict[str, Any] = {"model": controls.model, "dataset": controls.dataset, "steps": steps}
    data |= {name: controls.extra[name] for name in _RECIPE_EXTRAS if name in controls.extra}
    recipe = recipe_from_dict(data)
    unknown = set(controls.order) - {technique.key for technique in techniques}
    if unknown:
        raise InputError(ORDER, ", ".join(sorted(unknown)), "names of techniques with commas between them are needed")
    return replace(recipe, steps=in_order(in_suggested_order(recipe.steps, techniques), controls.order))


def in_suggested_order(steps: Sequence[Step], techniques: Sequence[Technique]) -> tuple[Step, ...]:
    """Steps in the order in which they go together best; those of one place stay as they are."""
    known = {technique.key: technique for technique in techniques}
    return tuple(sorted(steps, key=lambda step: known[step.technique].order_of(step.config)))


def in_order(steps: Sequence[Step], order: Sequence[str]) -> tuple[Step, ...]:
    """Steps with those that an order names in that order; the places of the others stay."""
    named = iter(sorted((s for s in steps if s.technique in order), key=lambda step: order.index(step.technique)))
    return tuple(next(named) if step.technique in order else step for step in steps)


def order_text(steps: Sequence[Step], techniques: Sequence[Technique]) -> str:
    """The order of steps as it stands in the URL; empty if it is the suggested one."""
    keys = [step.technique for step in steps]
    return "" if tuple(steps) == in_suggested_order(steps, techniques) else ",".join(keys)


def recipe_widgets(session: Mapping[str, Any], techniques: Sequence[Technique]) -> dict[str, Any]:
    """Where the widgets stand that make the recipe: model, dataset, toggles, and the knobs of what is switched on.

    Args:
        session: The session's state; knobs that it does not know are left out.
        techniques: All techniques.
    """
    values: dict[str, Any] = {MODEL: session.get(MODEL), DATA: session.get(DATA)}
    for technique in techniques:
        values[technique.key] = bool(session.get(technique.key))
        if values[technique.key]:
            keys = [knob_key(technique.key, name) for name in knobs_of(technique.config_type)]
            values |= {key: session[key] for key in keys if key in session}
    return values


def in_address(value: object) -> str:
    """A widget's value as it stands in the URL."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def widget_values(recipe: Recipe, models: Sequence[str], techniques: Sequence[Technique]) -> dict[str, Any]:
    """Session state that makes the widgets show a recipe; techniques that it lacks are switched off.

    Raises:
        InputError: if the page cannot show it.
    """
    if not isinstance(recipe.model, str) or recipe.model not in models:
        raise InputError("model", recipe.model, "allowed: " + ", ".join(models))
    values: dict[str, Any] = {MODEL: recipe.model, DATA: recipe.dataset}
    values |= {technique.key: False for technique in techniques}
    for step in recipe.steps:
        if values[step.technique]:
            raise InputError("steps", step.technique, "this page holds each technique once")
        values[step.technique] = True
        values |= {knob_key(step.technique, name): getattr(step.config, name) for name in knobs_of(type(step.config))}
    values[EXTRA] = extra_text(extra_of(recipe))
    values[ORDER] = order_text(recipe.steps, techniques)
    return values


def extra_of(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe no widget shows, defaults left out."""
    data, plain = recipe_to_dict(recipe), recipe_to_dict(Recipe(recipe.model, recipe.dataset))
    extra = {name: data[name] for name in _RECIPE_EXTRAS if name in data and data[name] != plain.get(name)}
    for step in data["steps"]:
        own = {name: step[name] for name in _STEP_EXTRAS if step.get(name)}
        if own:
            extra[step["technique"]] = own
    return extra


def extra_text(extra: Mapping[str, Any]) -> str:
    """The extra parts as they stand in the URL; empty if there are none."""
    return json.dumps(extra, separators=(",", ":"), sort_keys=True) if extra else ""


def read_extra(text: str) -> dict[str, Any]:
    """Inverse of `extra_text`.

    Raises:
        InputError: if the text is no JSON object.
    """
    if not text:
        return {}
    try:
        extra = json.loads(text)
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise InputError(EXTRA, text, "a JSON object is needed")
    return extra


def defaults(technique: Technique) -> dict[str, Any]:
    """Every knob's default value."""
    return {f.name: default_of(technique.config_type, f.name) for f in fields(technique.config_type)}
