"""Types of activations in a search: the integer type is tried first, and types that gain nothing are left out.

Which types run faster depends on the target, so it is measured: each type is tried once before it is left out.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from compression.core.errors import InputError
from compression.knobs import default_of
from compression.search.outcomes import Outcome
from compression.search.space import OFF, Dimension, Params, Space
from compression.search.spec import Limits

KNOB = "activation_bits"
Type = tuple[str, Any]


@dataclass(frozen=True)
class Tried:
    """One trial as the choice of types sees it.

    Attributes:
        params: Of the trial.
        outcome: What it measured; None while it is under way or where it failed.
        running: Whether it is under way.
    """

    params: Params
    outcome: Outcome | None
    running: bool


def first_trials(space: Space) -> list[Params]:
    """The mildest setting with integer activations of each technique that has them: most likely to keep limits."""
    return [
        space.only(dimension.uniform(level, **dimension.least_sides()))
        for dimension in space.dimensions if KNOB in dimension.sides
        for level in _mildest(dimension)
    ]


def _mildest(dimension: Dimension) -> list[int]:
    """The weakest level that goes with the least of the other knobs; none where there is no such level."""
    for level, value in enumerate(dimension.levels):
        try:
            dimension.technique.config_type(**{dimension.main: value}, **dimension.least_sides())
        except InputError:
            continue
        return [level]
    return []


def types_without_gain(space: Space, trials: Iterable[Tried], limits: Limits) -> frozenset[Type]:
    """Types that no further trial should use, by technique.

    A reduced type is left out once a trial with it was no faster than the uncompressed model, and while the first such
    trial is under way. The uncompressed model's type is left out where a limit asks for speed and another type was
    measured to be faster. Where the only limit is one of size, all types stay.
    """
    given = limits.given()
    if set(given) == {"max_size_bytes"}:
        return frozenset()
    known, found = list(trials), set[Type]()
    asks_for_speed = "max_latency_ms" in given or "min_speedup" in given
    for dimension in space.dimensions:
        if KNOB not in dimension.sides:
            continue
        unreduced = default_of(dimension.technique.config_type, KNOB)
        for value in dimension.sides[KNOB]:
            own = [trial for trial in known if uses(trial.params, (dimension.key, value))]
            ended = [trial.outcome for trial in own if trial.outcome is not None]
            if value != unreduced:
                slow = any(outcome.speedup <= 1.0 for outcome in ended)
                first_under_way = not ended and any(trial.running for trial in own)
                if slow or (first_under_way and value != min(dimension.sides[KNOB])):
                    found.add((dimension.key, value))
            elif asks_for_speed and _faster_type(dimension, known, unreduced):
                found.add((dimension.key, value))
    return frozenset(found)


def with_gaining_types(space: Space, params: Params, trials: Collection[Tried], limits: Limits) -> Params:
    """Parameters with the least type in the place of those that are left out, at levels that go with it.

    A reduced type that no trial has used is tried without other techniques, which would hide what it does.
    """
    if set(limits.given()) == {"max_size_bytes"}:
        return params
    left_out, found = types_without_gain(space, trials, limits), dict(params)
    for dimension in space.dimensions:
        value = params.get(f"{dimension.key}.{KNOB}")
        if _is_new(dimension, value, trials):
            return space.only({n: own for n, own in params.items() if n.partition(".")[0] == dimension.key})
        if KNOB not in dimension.sides or (dimension.key, _computed(dimension, params)) not in left_out:
            continue
        found[f"{dimension.key}.{KNOB}"] = min(dimension.sides[KNOB])
        level = f"{dimension.key}.{dimension.main}"
        if level in found:
            found[level] = max([found[level], *_mildest(dimension)])
    return found


def _computed(dimension: Dimension, params: Params) -> Any:
    """The type that a choice comes to: a level that does not go with the chosen type leaves activations unreduced."""
    if params.get(dimension.key, OFF) == OFF:
        return None
    level, value = params.get(f"{dimension.key}.{dimension.main}"), params.get(f"{dimension.key}.{KNOB}")
    try:
        if level is not None:
            dimension.technique.config_type(**{dimension.main: dimension.levels[level], KNOB: value})
    except InputError:
        return default_of(dimension.technique.config_type, KNOB)
    return value


def _is_new(dimension: Dimension, value: Any, trials: Iterable[Tried]) -> bool:
    """Whether a type is neither the uncompressed model's nor the least, and no trial has used it."""
    if KNOB not in dimension.sides or value is None:
        return False
    usual = {default_of(dimension.technique.config_type, KNOB), min(dimension.sides[KNOB])}
    return value not in usual and not any(uses(trial.params, (dimension.key, value)) for trial in trials)


def _faster_type(dimension: Dimension, trials: Iterable[Tried], unreduced: Any) -> bool:
    """Whether a trial with a reduced type and no other technique was clearly faster than the uncompressed model."""
    return any(
        trial.outcome is not None and trial.outcome.speedup_low > 1.0 and _alone(dimension.key, trial.params)
        and trial.params.get(f"{dimension.key}.{KNOB}") != unreduced
        for trial in trials
    )


def _alone(key: str, params: Mapping[str, Any]) -> bool:
    return params.get(key, OFF) != OFF and not any(
        value != OFF for name, value in params.items() if "." not in name and name != key
    )


def uses(params: Mapping[str, Any], of: Type) -> bool:
    """Whether parameters choose a type of a technique that is on."""
    key, value = of
    return params.get(key, OFF) != OFF and params.get(f"{key}.{KNOB}") == value
