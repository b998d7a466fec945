"""When one way of scoring is clearly better than another on the same samples; and permuted labels."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest, ttest_rel

_SURE = 0.001  # chance of a suggestion that only luck makes, for all alternatives together
LEAST_GAIN = {"accuracy": 0.05, "r2": 0.1}
_LEAST_SAMPLES, _FOLDS, _PER_CLASS = 20, 2, 3


@dataclass(frozen=True)
class Scored:
    """One way of scoring.

    Attributes:
        quality: Accuracy or R2.
        points: Per sample, higher is better: 1 where right (classes), or minus the squared error (values).
        fit: Mean log-probability of the classes, which tells equal accuracies apart; 0 of values.
    """

    quality: float
    points: np.ndarray
    fit: float = 0.0


def clearly_better(other: Scored, now: Scored, kind: str, tries: int) -> bool:
    """Whether another way is far better, and not by luck.

    The gain has to be five points of accuracy (0.1 of R2); the paired samples have to differ at the 0.1 % level,
    Bonferroni-corrected for the number of alternatives: McNemar's exact test for classes, a paired t-test for values.

    Args:
        other: The alternative.
        now: The present way, on the same samples.
        kind: "accuracy" or "r2".
        tries: Alternatives that were compared.
    """
    if len(now.points) < _LEAST_SAMPLES or other.quality - now.quality < LEAST_GAIN[kind]:
        return False
    change = other.points - now.points
    if kind == "accuracy":
        won, lost = int((change > 0).sum()), int((change < 0).sum())
        chance = binomtest(won, won + lost, alternative="greater").pvalue if won + lost else 1.0
    else:
        chance = float(ttest_rel(other.points, now.points, alternative="greater").pvalue)
    return bool(chance < _SURE / max(1, tries))


def matched(predictions: np.ndarray, targets: np.ndarray, classes: int, seed: int = 0) -> Scored | None:
    """Accuracy if each class stood for the output that it is taken for most, cross-fitted.

    The best assignment of classes to outputs (Hungarian method, Kuhn 1955) is found on one half of the samples and
    scored on the other, both ways round: on the same samples it would better even guesses.

    Returns:
        None where there are too few samples per class to tell.
    """
    if len(targets) < _FOLDS * _PER_CLASS * min(classes, len(np.unique(targets))) or classes < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(targets))
    order = order[np.argsort(targets[order], kind="stable")]
    half = np.zeros(len(targets), dtype=bool)
    half[order[::2]] = True  # every class in both halves
    points = np.zeros(len(targets))
    for fit in (half, ~half):
        table = np.zeros((classes, classes), dtype=np.int64)
        np.add.at(table, (targets[fit], predictions[fit]), 1)
        assigned = np.empty(classes, dtype=np.int64)
        rows, columns = linear_sum_assignment(-(2 * len(targets) * table + np.eye(classes, dtype=np.int64)))
        assigned[rows] = columns
        points[~fit] = assigned[targets[~fit]] == predictions[~fit]
    return Scored(float(points.mean()), points)
