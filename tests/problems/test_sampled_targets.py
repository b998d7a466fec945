"""Targets drawn from a model's own outputs follow the distribution that the outputs stand for."""

import torch

from compression.problems import problem_of

N = 20_000


def drawn(task: str, outputs: torch.Tensor) -> torch.Tensor:
    return problem_of(task).sampled_targets(outputs, torch.Generator().manual_seed(0))


def test_classes_are_drawn_as_often_as_the_softmax_says() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0]]).expand(N, 3)
    shares = drawn("image_classification", logits).bincount(minlength=3) / N
    assert torch.allclose(shares, logits[0].softmax(-1), atol=0.02)


def test_the_second_of_two_classes_is_drawn_as_often_as_the_sigmoid_says() -> None:
    targets = drawn("binary_classification", torch.full((N, 1), 1.5))
    assert abs(float(targets.double().mean()) - float(torch.tensor(1.5).sigmoid())) < 0.02


def test_values_spread_around_the_output_with_unit_variance() -> None:
    targets = drawn("regression", torch.full((N, 1), 3.0))
    assert abs(float(targets.mean()) - 3.0) < 0.03 and abs(float(targets.std()) - 1.0) < 0.03
