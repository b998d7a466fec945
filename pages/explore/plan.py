"""What a view wants to be measured: the baseline, the current recipe and one curve per technique."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compression.service import InputError, Recipe, Step, Technique, knobs_of, recipe_hash, vary
from pages.shared.url.state import in_suggested_order, order_text


@dataclass(frozen=True)
class Curve:
    """A sweep over one technique's main knob.

    Attributes:
        technique: Key of the technique.
        title: Its name for people.
        knob: The knob that varies.
        values: Its values, weakest compression first.
        recipes: One recipe per value.
        aside: Whether the technique is no step of the current recipe and its curve is drawn for comparison.
    """

    technique: str
    title: str
    knob: str
    values: tuple[Any, ...]
    recipes: tuple[Recipe, ...]
    aside: bool = False


@dataclass(frozen=True)
class Plan:
    """All that a view shows.

    Attributes:
        current: The recipe that the sliders describe; the baseline when no technique is on.
        curves: One per enabled technique that is not hidden, or those shown unasked when none is; then those for
            comparison.
        invitation: Whether the curves are shown unasked.
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


def make_plan(
    current: Recipe, techniques: Sequence[Technique], *, together: bool, invite: Sequence[Step] = (),
    also: Collection[str] = (), hidden: Collection[str] = (),
) -> Plan:
    """Plan the curves of a view.

    Args:
        current: The recipe that the sliders describe.
        techniques: All techniques.
        together: Vary each main knob within the whole recipe instead of each technique alone.
        invite: Steps whose curves are shown when no technique is on.
        also: Techniques whose curves are drawn though the recipe has no such step: alone, or added to the recipe.
        hidden: Techniques whose curves are not drawn, and not measured.
    """
    known = {technique.key: technique for technique in techniques}
    own = {step.technique for step in current.steps}
    asides = [technique for technique in techniques if technique.key in also and technique.key not in {*own, *hidden}]
    if not current.steps:
        shown = [step for step in invite if step.technique in known and step.technique not in hidden and not asides]
        curves = [_curve(replace(current, steps=(step,)), known[step.technique]) for step in shown]
        return Plan(current, (*curves, *(_curve(current, aside) for aside in asides)), invitation=True)
    curves = []
    for step in current.steps:
        if step.technique not in hidden:
            start = current if together else replace(current, steps=(step,))
            curves.append(_curve(start, known[step.technique]))
    for aside in asides:
        start = _with_default(current, aside, techniques) if together else current.baseline()
        curves.append(replace(_curve(start, aside), aside=True))
    return Plan(current, tuple(curves))


def _with_default(current: Recipe, technique: Technique, techniques: Sequence[Technique]) -> Recipe:
    """A recipe with one more step, at its suggested place where the others are at theirs."""
    steps = (*current.steps, Step(technique.key, technique.config_type()))
    if not order_text(current.steps, techniques):
        steps = in_suggested_order(steps, techniques)
    return replace(current, steps=steps)


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
