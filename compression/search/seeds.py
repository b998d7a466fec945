"""What a search tries first: plans from the layers' sensitivities, alone and with mild settings of the rest."""

from collections.abc import Mapping

from compression.search.space import Dimension, Params, Space
from compression.search.spec import Limits

_SPREAD = (0.3, 0.1, 0.55, 0.8)
_BELOW = 0.1
_SPARED = 0.5
_MILD = (0.25, 0.5, 0.4, 0.6)


def seeds(space: Space, limits: Limits, rests: Mapping[str, int], most: int) -> list[Params]:
    """Parameters of the first trials, the most promising first.

    Args:
        space: What can be chosen; its planners are the techniques that can be planned.
        limits: What is asked for.
        rests: By planned technique the bytes of the file that no plan changes.
        most: How many are wanted at most.
    """
    planned = [d for d in space.dimensions if d.key in space.planners and d.plannable]
    if not planned:
        return []
    first = planned[-1]  # the last step is the one that decides how weights are stored
    others = [d for d in space.dimensions if d is not first and "training" not in d.technique.needs]
    found: list[Params] = []
    for place, share in enumerate(_shares(first, space, limits, rests)):
        plan = first.planned(share, **first.least_sides())
        mild = [_mild(other, place) for other in others]
        found += [space.only(plan), *(space.only({**plan, **own}) for own in mild)]
        if len(mild) > 1:
            together: Params = {name: value for own in mild for name, value in own.items()}
            found.append(space.only({**plan, **together}))
    return _each_once(found)[:most]


def _mild(dimension: Dimension, place: int) -> Params:
    """A setting in the weaker half of a technique's levels, another for each of the first plans."""
    level = round(_MILD[place % len(_MILD)] * (len(dimension.levels) - 1))
    return dimension.uniform(level, **dimension.least_sides())


def _shares(dimension: Dimension, space: Space, limits: Limits, rests: Mapping[str, int]) -> list[float]:
    """Budgets to begin with: the one that just keeps the limit of size, one below, and some spread over all.

    Without such a limit first those estimated to keep the limit of accuracy: with half of it to spare, and just.
    """
    planner = space.planners[dimension.key]
    if limits.max_size_bytes is None and limits.max_accuracy_drop is not None:
        safe, just = (planner.keeping(share * limits.max_accuracy_drop / 100) for share in (_SPARED, 1.0))
        return [safe, just, *_SPREAD]
    if limits.max_size_bytes is None:
        return list(_SPREAD)
    bound = planner.share_of(limits.max_size_bytes - rests[dimension.key])
    return [own for own in (bound, *_SPREAD[:1], bound - _BELOW, *_SPREAD[1:]) if own >= 0.0]


def _each_once(found: list[Params]) -> list[Params]:
    kept: list[Params] = []
    for params in found:
        if params not in kept:
            kept.append(params)
    return kept
