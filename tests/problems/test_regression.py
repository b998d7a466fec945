"""Values: R2 and mean absolute error, their intervals and paired differences."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score

from compression.core.intervals import bootstrap_interval, mean_interval
from compression.problems import ACCURACY, R2, problem_of

PROBLEM = problem_of("regression")


def drawn(n: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values, and predictions that are off by normal noise."""
    generator = np.random.default_rng(seed)
    values = generator.normal(40.0, 5.0, n).astype(np.float32)
    return values, (values + noise * generator.normal(size=n)).astype(np.float32)


def test_figures_are_those_of_scikit_learn() -> None:
    values, found = drawn(300, 2.0)
    scored = PROBLEM.evaluate(PROBLEM.score(found[:, None], values), values)
    assert scored.accuracy == pytest.approx(r2_score(values, found), abs=1e-6)
    assert scored.extras["mean_absolute_error"] == pytest.approx(mean_absolute_error(values, found), abs=1e-6)
    assert scored.low < scored.accuracy < scored.high < 1
    assert scored.extras["mean_absolute_error_low"] < scored.extras["mean_absolute_error"]
    assert list(scored.arrays) == ["predictions"] and scored.loss_bits is None


def test_worse_than_the_mean_is_below_zero_and_a_shift_of_all_values_changes_nothing() -> None:
    values, found = drawn(200, 9.0)
    plain = PROBLEM.evaluate({"predictions": found}, values)
    shifted = PROBLEM.evaluate({"predictions": found + 1000}, values + 1000)
    assert plain.accuracy < 0
    assert shifted.accuracy == pytest.approx(plain.accuracy, abs=1e-3)


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    truth = 1 - 2.0**2 / 5.0**2
    held = 0
    for seed in range(40):
        values, found = drawn(150, 2.0, seed)
        scored = PROBLEM.evaluate({"predictions": found}, values)
        held += scored.low <= truth <= scored.high
    assert 33 <= held <= 40


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    values, found = drawn(400, 3.0)
    other = found + np.random.default_rng(1).normal(0, 0.3, 400).astype(np.float32)
    change = PROBLEM.paired_difference({"predictions": found}, {"predictions": other}, values)
    assert change.value == pytest.approx(r2_score(values, other) - r2_score(values, found), abs=1e-6)
    alone = PROBLEM.evaluate({"predictions": found}, values)
    assert change.high - change.low < 0.3 * (alone.high - alone.low)
    worse = PROBLEM.paired_difference({"predictions": found}, {"predictions": found + 3}, values)
    assert not worse.tied and worse.high < 0
    same = PROBLEM.paired_difference({"predictions": found}, {"predictions": found}, values)
    assert (same.value, same.low, same.high, same.tied) == (0.0, 0.0, 0.0, True)


def test_losses_and_distances() -> None:
    outputs, teacher, values = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [4.0]]), torch.tensor([1.0, 5.0])
    assert float(PROBLEM.task_loss(outputs, values)) == 2.0
    mixed = PROBLEM.training_loss(outputs, teacher, values, temperature=4.0, alpha=0.25, kind="kd")
    assert float(mixed) == 0.75 * 2.0 + 0.25 * 1.0
    assert PROBLEM.quality_of(outputs, values) == pytest.approx(1 - 2.0 / 4.0)
    assert PROBLEM.quality_of(outputs, torch.ones(2)) == 0.0
    assert PROBLEM.divergence(outputs, teacher) == pytest.approx(1.0)
    assert PROBLEM.flat(torch.zeros(3)).shape == PROBLEM.flat(torch.zeros(3, 1)).shape == (3, 1)


def test_a_constant_target_leaves_the_interval_open() -> None:
    assert bootstrap_interval(np.zeros((5, 3)), lambda means: means[:, 0] / means[:, 2]) is None
    assert mean_interval(np.array([2.0])) == (2.0, 2.0)


def test_qualities_in_words() -> None:
    assert (R2.text(0.98765), R2.difference(-0.0123), R2.label, R2.heading) == ("0.988", "-0.012 R2", "R2", "R2")
    assert (ACCURACY.text(0.98765), ACCURACY.difference(0.0123)) == ("98.8 %", "+1.2 points")
    assert (ACCURACY.label, ACCURACY.heading, R2.difference(-1e-6)) == ("Accuracy (%)", "accuracy %", "0.000 R2")
