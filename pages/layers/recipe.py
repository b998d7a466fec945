"""What a recipe says of one layer, and how it says something else. Recipes in, recipes out; and recipes as text."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compression.service import (
    InputError,
    Recipe,
    Step,
    Technique,
    default_of,
    knobs_of,
    matches,
    recipe_from_dict,
    recipe_to_dict,
    step_from_dict,
)
from pages.shared.url.state import in_suggested_order

RECIPE = "recipe"


@dataclass(frozen=True)
class LayerSetting:
    """What one step says of one layer.

    Attributes:
        technique: Key of the step's technique.
        knobs: The knobs that count for this layer.
        changed: Those of them that its overrides give it.
        protected: Whether the step leaves it alone because it is excluded by name.
        outside: Why the step leaves it alone otherwise; empty if it does not.
    """

    technique: str
    knobs: Mapping[str, Any]
    changed: Mapping[str, Any]
    protected: bool
    outside: str = ""

    @property
    def own(self) -> bool:
        """Whether the recipe names the layer here."""
        return self.protected or bool(self.changed)


def recipe_text(recipe: Recipe) -> str:
    """A recipe as it stands in the address: JSON, knobs at their defaults left out."""
    data, plain = recipe_to_dict(recipe), recipe_to_dict(Recipe(recipe.model, recipe.dataset))
    short = {name: data[name] for name in data if name in ("model", "dataset") or data[name] != plain.get(name)}
    if recipe.steps:
        short["steps"] = [
            {name: value for name, value in step.items() if name == "technique" or value != _default(own, name)}
            for step, own in zip(data["steps"], recipe.steps, strict=True)
        ]
    return json.dumps(short, separators=(",", ":"), sort_keys=True)


def _default(step: Step, name: str) -> Any:
    known = name in knobs_of(type(step.config))
    return default_of(type(step.config), name) if known else None


def read_recipe_text(text: str) -> Recipe:
    """Inverse of `recipe_text`.

    Raises:
        InputError: if the text is no recipe.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(RECIPE, text[:80], "a recipe as a JSON object is needed") from None
    return recipe_from_dict(data)


def layer_settings(recipe: Recipe, fqn: str) -> list[LayerSetting]:
    """What each step says of a layer."""
    return [_setting(step, fqn) for step in recipe.steps]


def _setting(step: Step, fqn: str) -> LayerSetting:
    knobs = {name: getattr(step.config, name) for name in knobs_of(type(step.config))}
    changed = {k: v for pattern, own in step.overrides.items() if matches(fqn, pattern) for k, v in own.items()}
    outside = ""
    if step.include and not any(matches(fqn, pattern) for pattern in step.include):
        outside = "not among the step's included layers"
    elif fqn not in step.exclude and any(matches(fqn, pattern) for pattern in step.exclude):
        outside = "excluded by the pattern " + next(p for p in step.exclude if matches(fqn, p))
    return LayerSetting(step.technique, {**knobs, **changed}, changed, fqn in step.exclude, outside)


def with_override(
    recipe: Recipe, technique: str, fqn: str, knobs: Mapping[str, Any], techniques: Sequence[Technique]
) -> Recipe:
    """The recipe in which a layer has these knobs; a technique that is not in it comes in for this layer alone.

    Raises:
        InputError: if a knob has no such value, or they contradict each other.
    """
    if all(step.technique != technique for step in recipe.steps):
        new = step_from_dict({"technique": technique, **knobs, "layers": {"include": [fqn]}})
        return replace(recipe, steps=in_suggested_order((*recipe.steps, new), techniques))
    return _each(recipe, technique, lambda step: _override(step, fqn, knobs))


def _override(step: Step, fqn: str, knobs: Mapping[str, Any]) -> Step:
    own = {name: value for name, value in knobs.items() if value != getattr(step.config, name)}
    replace(step.config, **own)  # checks them together
    rest = {pattern: changes for pattern, changes in step.overrides.items() if pattern != fqn}
    bare = _setting(replace(step, overrides=rest), fqn)
    if not bare.outside.startswith("excluded"):
        own = {name: value for name, value in knobs.items() if value != bare.knobs[name]}
    include = (*step.include, fqn) if bare.outside.startswith("not among") else step.include
    exclude = tuple(pattern for pattern in step.exclude if pattern != fqn)
    return replace(step, include=include, exclude=exclude, overrides={**rest, **({fqn: own} if own else {})})


def without_override(recipe: Recipe, technique: str, fqn: str) -> Recipe:
    """The recipe in which a step's knobs count for a layer again, as far as the layer is named."""
    return _each(
        recipe, technique,
        lambda step: replace(step, overrides={p: own for p, own in step.overrides.items() if p != fqn}),
    )


def protected(recipe: Recipe, technique: str, fqn: str, on: bool) -> Recipe:
    """The recipe in which a step leaves a layer alone, or no longer does; its override goes when it is protected."""

    def change(step: Step) -> Step:
        exclude = tuple(pattern for pattern in step.exclude if pattern != fqn)
        return replace(step, exclude=(*exclude, fqn) if on else exclude)

    return _each(without_override(recipe, technique, fqn) if on else recipe, technique, change)


def without_layer(recipe: Recipe, fqn: str) -> Recipe:
    """The recipe that does not name a layer; steps for this layer alone are left out."""
    return replace(recipe, steps=tuple(_forget(s, fqn) for s in recipe.steps if s.include != (fqn,)))


def named_layers(recipe: Recipe) -> list[tuple[str, str, str]]:
    """Every layer or pattern that a step names: technique, name and what is said of it."""
    rows = []
    for step in recipe.steps:
        rows += [(step.technique, name, "only these layers") for name in step.include]
        rows += [(step.technique, name, "protected") for name in step.exclude]
        for name, own in step.overrides.items():
            rows.append((step.technique, name, ", ".join(f"{knob} {value}" for knob, value in own.items())))
    return rows


def without_name(recipe: Recipe, technique: str, name: str) -> Recipe:
    """The recipe in which a step does not name a layer or pattern; a step that was for it alone is left out."""
    left = [step for step in recipe.steps if step.technique != technique or step.include != (name,)]
    return _each(replace(recipe, steps=tuple(left)), technique, lambda step: _forget(step, name))


def _forget(step: Step, name: str) -> Step:
    return replace(
        step, include=tuple(p for p in step.include if p != name), exclude=tuple(p for p in step.exclude if p != name),
        overrides={p: own for p, own in step.overrides.items() if p != name},
    )


def _each(recipe: Recipe, technique: str, change: Callable[[Step], Step]) -> Recipe:
    return replace(recipe, steps=tuple(change(s) if s.technique == technique else s for s in recipe.steps))
