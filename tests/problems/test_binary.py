"""One logit for two classes: threshold 0, binary cross-entropy, Wilson intervals."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from compression.core.intervals import wilson_interval
from compression.problems import problem_of

PROBLEM = problem_of("binary_classification")


def test_logits_above_zero_are_the_second_class_whatever_their_shape() -> None:
    logits, targets = np.array([[-2.0], [0.0], [0.1], [3.0]], np.float32), np.array([0, 0, 0, 1])
    scored = PROBLEM.score(logits, targets)
    found = PROBLEM.evaluate(scored, targets)
    assert found.predictions.tolist() == [0, 0, 1, 1]
    assert (found.accuracy, found.low, found.high) == (0.75, *wilson_interval(3, 4))
    sigmoid = 1 / (1 + np.exp(-logits[:, 0].astype(float)))
    assert found.truths == pytest.approx(np.where(targets == 1, sigmoid, 1 - sigmoid), abs=1e-3)
    assert found.confidences == pytest.approx(np.maximum(sigmoid, 1 - sigmoid), abs=1e-3)
    assert PROBLEM.score(logits[:, 0], targets)["predictions"].tolist() == [0, 0, 1, 1]


def test_large_logits_overflow_nothing() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        scored = PROBLEM.score(np.array([[900.0], [-900.0]], np.float32), np.array([1, 1]))
    assert scored["log_truths"].tolist() == [0.0, -900.0]


def test_losses_are_those_of_the_two_probabilities() -> None:
    torch.manual_seed(0)
    logits, teacher, targets = torch.randn(6, 1), torch.randn(6, 1), torch.randint(2, (6,))
    two = lambda own: torch.cat([torch.zeros_like(own), own], 1)  # noqa: E731
    assert PROBLEM.task_loss(logits, targets) == pytest.approx(float(F.cross_entropy(two(logits), targets)), rel=1e-5)
    other = problem_of("image_classification")
    given = {"temperature": 3.0, "alpha": 0.4, "kind": "kd"}
    assert float(PROBLEM.training_loss(logits, teacher, targets, **given)) == pytest.approx(
        float(other.training_loss(two(logits), two(teacher), targets, **given)), rel=1e-5
    )
    assert PROBLEM.divergence(logits, teacher) == pytest.approx(other.divergence(two(logits), two(teacher)), rel=1e-5)
    assert PROBLEM.divergence(teacher, teacher) == 0.0
    assert PROBLEM.agreement(logits, teacher) == float(((logits > 0) == (teacher > 0)).float().mean())
