"""Per-layer settings under one budget, by dynamic programming over what each layer costs and loses.

SPDY (Frantar and Alistarh 2022, arXiv 2201.13096): ``DP[l, t] = min_c DP[l - 1, t - cost_lc] + err_lc``. Losses of
single layers are taken to add up, so what comes out is a plan to be measured and no result.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

_STATES = 4096
_HALVINGS = 5


class LayerCost(Protocol):
    """What one layer costs and loses at one setting; `compression.analysis.sensitivity.Sensitivity` is one."""

    @property
    def fqn(self) -> str: ...
    @property
    def value(self) -> Any: ...
    @property
    def error(self) -> float: ...
    @property
    def accuracy_drop(self) -> float: ...
    @property
    def size_bytes(self) -> int: ...


def allocate(options: Sequence[Sequence[tuple[float, float]]], budget: float, most: int = _STATES) -> list[int] | None:
    """Choose an option per layer so that the errors sum up to the least within a budget.

    The table holds the totals that can be reached, not a grid of costs: exact as long as a layer has at most `most`
    of them that are worth keeping, and never above the budget.

    Args:
        options: Per layer ``(cost, error)``; not empty.
        budget: Largest total cost.
        most: Totals that are kept per layer; of more, those spread evenly over the costs.

    Returns:
        Index of the chosen option per layer, or None where even the cheapest cost more than the budget.
    """
    least = [min(cost for cost, _ in own) for own in options]
    if sum(least) > budget:
        return None
    costs, errors, steps = np.zeros(1), np.zeros(1), []
    for layer, own in enumerate(options):
        table = np.array(own, dtype=np.float64)
        total = (costs[:, None] + table[:, 0]).ravel()
        lost = (errors[:, None] + table[:, 1]).ravel()
        kept = _worth_keeping(total, lost, budget - sum(least[layer + 1 :]), most)
        costs, errors = total[kept], lost[kept]
        steps.append(np.divmod(kept, len(own)))
    picks, state = [], len(costs) - 1  # the dearest total that is worth keeping has the least error
    for before, option in reversed(steps):
        picks.append(int(option[state]))
        state = int(before[state])
    return picks[::-1]


def _worth_keeping(total: np.ndarray, lost: np.ndarray, budget: float, most: int) -> np.ndarray:
    """Indices of the totals within a budget that lose less than every cheaper one, by cost."""
    order = np.lexsort((lost, total))
    order = order[total[order] <= budget + 1e-9 * abs(budget)]
    before = np.concatenate(([np.inf], np.minimum.accumulate(lost[order])[:-1]))
    order = order[lost[order] < before]
    if len(order) <= most:
        return order
    spread = np.linspace(total[order[0]], total[order[-1]], most)
    places = np.searchsorted(total[order], spread, side="right") - 1
    return order[np.unique(np.clip(places, 0, None))]


@dataclass(frozen=True)
class Plan:
    """Settings of all layers, and what the layers' own measurements say of them.

    Attributes:
        values: Setting per layer.
        size_bytes: Sum of the layers' bytes.
        accuracy_drop: Root of the summed squares of the layers' drops, a fraction: an estimate. Their perturbations
            are taken to be independent, so that variances add up, and accuracy falls with the deviation.
    """

    values: dict[str, Any]
    size_bytes: int
    accuracy_drop: float


class Planner:
    """Plans one technique's settings from its sensitivities.

    Args:
        rows: What each layer costs and loses at each setting.

    Raises:
        ValueError: if there are none.
    """

    def __init__(self, rows: Sequence[LayerCost]) -> None:
        if not rows:
            raise ValueError("a plan needs sensitivities")
        self._rows: dict[str, list[LayerCost]] = {}
        for row in rows:
            self._rows.setdefault(row.fqn, []).append(row)
        costs = [[row.size_bytes for row in own] for own in self._rows.values()]
        self.least_bytes, self.most_bytes = sum(map(min, costs)), sum(map(max, costs))

    @property
    def layers(self) -> tuple[str, ...]:
        """fqns, in the model's order."""
        return tuple(self._rows)

    def within(self, size_bytes: float) -> Plan | None:
        """The plan of the least error within so many bytes of these layers, or None where there is none."""
        options = [[(float(row.size_bytes), row.error) for row in own] for own in self._rows.values()]
        picks = allocate(options, size_bytes)
        if picks is None:
            return None
        rows = [own[pick] for own, pick in zip(self._rows.values(), picks, strict=True)]
        drop = math.hypot(*(max(0.0, row.accuracy_drop) for row in rows))
        return Plan({row.fqn: row.value for row in rows}, sum(row.size_bytes for row in rows), drop)

    def at(self, share: float) -> Plan:
        """The plan for a budget between the least (share 0) and the most bytes (1), in equal ratios."""
        budget = round(self.least_bytes * (self.most_bytes / max(self.least_bytes, 1)) ** share)
        found = self.within(max(budget, self.least_bytes))
        assert found is not None
        return found

    def keeping(self, drop: float) -> float:
        """The smallest share, found by halving, whose plan is estimated to lose at most this fraction of accuracy."""
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if self.at(middle).accuracy_drop <= drop else (middle, high)
        return high

    def share_of(self, size_bytes: float) -> float:
        """The share whose budget is so many bytes, kept within 0 to 1."""
        span = math.log(max(self.most_bytes, 1) / max(self.least_bytes, 1))
        if span <= 0:
            return 1.0
        return min(1.0, max(0.0, math.log(max(size_bytes, 1.0) / max(self.least_bytes, 1)) / span))
