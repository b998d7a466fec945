"""What a search tries first: plans from the layers' sensitivities, at budgets around its limits."""

from collections.abc import Mapping

from compression.experiments.search.space import Dimension, Params, Space
from compression.experiments.search.spec import Limits

_SPREAD = (0.3, 0.55, 0.8, 0.1)
_BELOW = 0.1
_WEAK = 4


def seeds(space: Space, limits: Limits, rests: Mapping[str, int], most: int) -> list[Params]:
    """Parameters of the first trials, the most promising first.

    Args:
        space: What can be chosen; its planners are the techniques that can be planned.
        limits: What is asked for.
        rests: By planned technique the bytes of the file that no plan changes.
        most: How many are wanted at most.
    """
    planned = [d for d in space.dimensions if d.key in space.planners and d.plannable]
    others = [d for d in space.dimensions if d not in planned and "training" not in d.technique.needs]
    alone = [
        [space.only(d.planned(share, **d.least_sides())) for share in _shares(d, space, limits, rests)]
        for d in planned
    ]
    found = [params for group in zip(*alone, strict=False) for params in group]
    if planned:
        first = planned[-1]  # the last step is the one that decides how weights are stored
        share = _shares(first, space, limits, rests)[0]
        for place, other in enumerate(others):
            mild = other.uniform(len(other.levels) // _WEAK, **other.least_sides())
            found.insert(2 * place + 1, space.only({**first.planned(share, **first.least_sides()), **mild}))
        if len(planned) > 1:
            both = {**planned[0].planned(_SPREAD[2]), **first.planned(_SPREAD[1], **first.least_sides())}
            found.insert(2, space.only(both))
        found.append(space.only(first.planned(share)))
    return _each_once(found)[:most]


def _shares(dimension: Dimension, space: Space, limits: Limits, rests: Mapping[str, int]) -> list[float]:
    """Budgets to begin with: the one that just keeps the limit of size, one below, and some spread over all."""
    if limits.max_size_bytes is None:
        return list(_SPREAD)
    bound = space.planners[dimension.key].share_of(limits.max_size_bytes - rests[dimension.key])
    return [own for own in (bound, bound - _BELOW, *_SPREAD) if own >= 0.0]


def _each_once(found: list[Params]) -> list[Params]:
    kept: list[Params] = []
    for params in found:
        if params not in kept:
            kept.append(params)
    return kept
