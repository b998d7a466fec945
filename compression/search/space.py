"""What a search may choose from, made from the techniques' own knobs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

from compression.core.errors import InputError
from compression.knobs import Knob, default_of, knobs_of
from compression.recipe import Recipe, Step
from compression.search.planning import Planner
from compression.techniques import Technique, get_technique

OFF, UNIFORM, PLANNED = "off", "uniform", "planned"
BUDGET = "budget"
Params = dict[str, Any]
_SHARE_STEP = 0.02
_SPREADING = frozenset({"scope", "allocation"})  # knobs of techniques that spread one budget over layers themselves


class Suggesting(Protocol):
    """What Optuna's trials offer."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, *, step: float) -> float: ...


def levels(knob: Knob) -> tuple[Any, ...]:
    """Values of a main knob from the weakest to the strongest: its sweep, and fractions between where it has a step."""
    sweep = knob.sweep
    if not all(isinstance(value, float) for value in sweep) or knob.step is None:
        return sweep
    finer = [sweep[0]]
    for one, other in pairwise(sweep):
        middle = round(round((one + other) / 2 / knob.step) * knob.step, 10)
        finer += [own for own in (middle, other) if own != finer[-1]]
    return tuple(finer)


@dataclass(frozen=True)
class Dimension:
    """What can be chosen for one technique.

    Attributes:
        technique: The technique.
        levels: Values of its main knob, weakest first.
        sides: Choices of the other knobs that its form does not fold away.
        plannable: Whether layers can have settings of their own, from a plan.
    """

    technique: Technique
    levels: tuple[Any, ...]
    sides: Mapping[str, tuple[Any, ...]]
    plannable: bool

    @property
    def key(self) -> str:
        """Key of the technique."""
        return self.technique.key

    @property
    def main(self) -> str:
        """Name of the main knob."""
        return self.technique.main_knob

    def suggest(self, trial: Suggesting) -> Params:
        """Let the sampler choose."""
        modes = (OFF, UNIFORM, PLANNED) if self.plannable else (OFF, UNIFORM)
        mode = trial.suggest_categorical(self.key, modes)
        params: Params = {self.key: mode}
        if mode == OFF:
            return params
        if mode == PLANNED:
            params[f"{self.key}.{BUDGET}"] = trial.suggest_float(f"{self.key}.{BUDGET}", 0.0, 1.0, step=_SHARE_STEP)
        else:
            params[f"{self.key}.{self.main}"] = trial.suggest_int(f"{self.key}.{self.main}", 0, len(self.levels) - 1)
        for name, choices in self.sides.items():
            params[f"{self.key}.{name}"] = trial.suggest_categorical(f"{self.key}.{name}", choices)
        return params

    def step(self, params: Params, planner: Planner | None) -> Step | None:
        """The step that parameters describe, or None where the technique is off."""
        mode = params.get(self.key, OFF)
        if mode == OFF:
            return None
        sides = {name: params[f"{self.key}.{name}"] for name in self.sides if f"{self.key}.{name}" in params}
        if mode == PLANNED and planner is not None:
            return self._planned(planner.at(params[f"{self.key}.{BUDGET}"]).values, sides)
        if mode == PLANNED:  # without sensitivities the same budget, everywhere alike
            level = round((1 - params[f"{self.key}.{BUDGET}"]) * (len(self.levels) - 1))
        else:
            level = params[f"{self.key}.{self.main}"]
        return Step(self.key, self._config(self.levels[level], sides))

    def _planned(self, values: Mapping[str, Any], sides: Mapping[str, Any]) -> Step:
        """The most frequent setting for all, the others as overrides; named layers are not protected from theirs."""
        usual = Counter(values.values()).most_common(1)[0][0]
        ends = (next(iter(values)), next(reversed(values)))  # which low settings would otherwise spare
        overrides = {fqn: {self.main: value} for fqn, value in values.items() if value != usual or fqn in ends}
        return Step(self.key, self._config(usual, sides), overrides=overrides)

    def _config(self, value: Any, others: Mapping[str, Any]) -> Any:
        """The config, without those other knobs that do not go with this value."""
        try:
            return self.technique.config_type(**{self.main: value}, **others)
        except InputError:
            kept = {name: own for name, own in others.items() if name not in self.sides}
            return self.technique.config_type(**{self.main: value}, **kept)

    def uniform(self, level: int, **sides: Any) -> Params:
        """Parameters of one level everywhere."""
        named = {f"{self.key}.{name}": value for name, value in {**self._usual_sides(), **sides}.items()}
        return {self.key: UNIFORM, f"{self.key}.{self.main}": level, **named}

    def planned(self, share: float, **sides: Any) -> Params:
        """Parameters of a plan; its budget is rounded down."""
        named = {f"{self.key}.{name}": value for name, value in {**self._usual_sides(), **sides}.items()}
        rounded = round(math.floor(share / _SHARE_STEP + 1e-6) * _SHARE_STEP, 6)
        return {self.key: PLANNED, f"{self.key}.{BUDGET}": rounded, **named}

    def _usual_sides(self) -> Params:
        return {name: default_of(self.technique.config_type, name) for name in self.sides}

    def strongest(self) -> Params:
        """Parameters of the strongest setting; of numbers among the other choices the least."""
        return self.uniform(len(self.levels) - 1, **self.least_sides())

    def least_sides(self) -> Params:
        """The least of those other choices that are numbers (bits of activations)."""
        return {n: min(own) for n, own in self.sides.items() if all(isinstance(c, int | float) for c in own)}


@dataclass(frozen=True)
class Space:
    """All that a search may choose from.

    Attributes:
        recipe: The uncompressed model's recipe.
        dimensions: One per technique, in the suggested order.
        planners: By technique, where sensitivities are known.
    """

    recipe: Recipe
    dimensions: tuple[Dimension, ...]
    planners: Mapping[str, Planner]

    def suggest(self, trial: Suggesting) -> Params:
        """Let the sampler choose a recipe's parameters."""
        params: Params = {}
        for dimension in self.dimensions:
            params |= dimension.suggest(trial)
        return params

    def build(self, params: Params) -> Recipe:
        """The recipe that parameters describe."""
        steps = [dimension.step(params, self.planners.get(dimension.key)) for dimension in self.dimensions]
        return replace(self.recipe, steps=tuple(step for step in steps if step is not None))

    def estimate(self, params: Params) -> float | None:
        """Points of accuracy that sensitivities let plans lose; None where anything but plans is on."""
        drop = 0.0
        for dimension in self.dimensions:
            mode, planner = params.get(dimension.key, OFF), self.planners.get(dimension.key)
            if mode == OFF:
                continue
            if mode != PLANNED or planner is None:
                return None
            drop = math.hypot(drop, 100 * planner.at(params[f"{dimension.key}.{BUDGET}"]).accuracy_drop)
        return drop if any(params.get(own.key, OFF) != OFF for own in self.dimensions) else None

    def only(self, params: Params) -> Params:
        """Parameters of one technique, all others off."""
        return {**{dimension.key: OFF for dimension in self.dimensions}, **params}


def make_space(recipe: Recipe, techniques: Sequence[str], *, plans: bool, planners: Mapping[str, Planner]) -> Space:
    """The space of some techniques.

    Args:
        recipe: The uncompressed model's recipe.
        techniques: Keys, in the order of their steps.
        plans: Whether layers may have settings of their own.
        planners: By technique, as far as sensitivities are known.
    """
    return Space(recipe, tuple(_dimension(get_technique(key), plans) for key in techniques), planners)


def _dimension(technique: Technique, plans: bool) -> Dimension:
    knobs = knobs_of(technique.config_type)
    sides = {
        name: knob.choices for name, knob in knobs.items()
        if name != technique.main_knob and not knob.advanced and knob.choices is not None
    }
    plannable = plans and technique.by_layer and not _SPREADING & knobs.keys()
    return Dimension(technique, levels(knobs[technique.main_knob]), sides, plannable)
