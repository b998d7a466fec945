"""What a view wants to be measured: the baseline, the current recipe and one curve per technique."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from compression.experiments import InputError, Recipe, Technique, knobs_of, recipe_hash, vary


@dataclass(frozen=True)
class Curve:
    """A sweep over one technique's main knob.

    Attributes:
        technique: Key of the technique.
        title: Its name for people.
        knob: The knob that varies.
        values: Its values, weakest compression first.
        recipes: One recipe per value.
    """

    technique: str
    title: str
    knob: str
    values: tuple[Any, ...]
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True)
class Plan:
    """All that a view shows.

    Attributes:
        current: The recipe that the sliders describe; the baseline when no technique is on.
        curves: One per enabled technique, or one invitation when none is.
        invitation: Whether the curve is shown unasked.
    """

    current: Recipe
    curves: tuple[Curve, ...]
    invitation: bool = False

    @property
    def baseline(self) -> Recipe:
        """The uncompressed model."""
        return self.current.baseline()

    def wanted(self) -> list[tuple[Recipe, int]]:
        """Recipes with their priorities, each once; curves grow side by side."""
        wanted = {recipe_hash(self.baseline): (self.baseline, 100)}
        wanted.setdefault(recipe_hash(self.current), (self.current, 50))
        for curve in self.curves:
            for place, recipe in enumerate(curve.recipes):
                wanted.setdefault(recipe_hash(recipe), (recipe, -10 - place))
        return list(wanted.values())


def make_plan(current: Recipe, techniques: Sequence[Technique], *, together: bool, invite: str | None) -> Plan:
    """Plan the curves of a view.

    Args:
        current: The recipe that the sliders describe.
        techniques: All techniques.
        together: Vary each main knob within the whole recipe instead of each technique alone.
        invite: Technique whose curve is shown when no technique is on.
    """
    known = {technique.key: technique for technique in techniques}
    if not current.steps:
        curves = [_curve(current, known[invite])] if invite in known else []
        return Plan(current, tuple(curves), invitation=True)
    curves = []
    for step in current.steps:
        start = current if together else replace(current, steps=(step,))
        curves.append(_curve(start, known[step.technique]))
    return Plan(current, tuple(curves))


def _curve(start: Recipe, technique: Technique) -> Curve:
    values = tuple(knobs_of(technique.config_type)[technique.main_knob].sweep)
    own = [getattr(step.config, technique.main_knob) for step in start.steps if step.technique == technique.key]
    if len(start.steps) == 1 and own and own[0] not in values:
        values = _inserted(values, own[0])
    points = [(value, recipe) for value in values if (recipe := _with(start, technique, value)) is not None]
    return Curve(
        technique.key, technique.title, technique.main_knob, tuple(v for v, _ in points), tuple(r for _, r in points)
    )


def _with(start: Recipe, technique: Technique, value: Any) -> Recipe | None:
    """The recipe at one value, or None where the other knobs do not allow that value."""
    try:
        return vary(start, technique.key, technique.main_knob, (value,))[0]
    except InputError:
        return None


def _inserted(values: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    """The slider's own value as one more point of its curve, where values have an order."""
    if not isinstance(value, int | float) or not all(isinstance(v, int | float) for v in values):
        return values
    falling = len(values) > 1 and values[0] > values[-1]
    return tuple(sorted((*values, value), reverse=falling))
