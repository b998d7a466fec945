"""Random gradients at a model's outputs have the loss's Fisher information as their second moment."""

import pytest
import torch
from torch import Tensor

from compression.problems import problem_of

N = 40_000


def second_moment(task: str, output: Tensor) -> Tensor:
    gradients = problem_of(task).fisher_gradient(output.expand(N, -1), torch.Generator().manual_seed(0)).double()
    return gradients.T @ gradients / N


def test_of_classes_it_is_the_covariance_of_the_labels() -> None:
    logits = torch.tensor([[0.0, 1.0, -1.0, 6.0]])
    p = logits.double().softmax(-1)[0]
    wanted = torch.diag(p) - torch.outer(p, p)
    assert torch.allclose(second_moment("image_classification", logits), wanted, atol=2e-4)


def test_of_one_logit_it_is_the_variance_of_the_label() -> None:
    p = torch.tensor(1.5).sigmoid()
    found = second_moment("binary_classification", torch.tensor([[1.5]]))
    assert float(found) == pytest.approx(float(p * (1 - p)), rel=1e-5)


def test_of_a_value_it_is_the_squared_gradient_of_the_squared_error() -> None:
    """The error's gradient is twice the residual, whose variance is 1."""
    assert float(second_moment("regression", torch.tensor([[3.0]]))) == pytest.approx(4.0)


@pytest.mark.parametrize(("task", "outputs", "targets"), [
    ("image_classification", 4 * torch.eye(5).repeat(40, 1), torch.arange(5).repeat(40)),
    ("binary_classification", torch.tensor([[2.0], [-2.0]]).repeat(100, 1), torch.tensor([1, 0]).repeat(100)),
])
def test_the_expected_drop_is_that_of_noisy_outputs(task: str, outputs: Tensor, targets: Tensor) -> None:
    problem, generator = problem_of(task), torch.Generator().manual_seed(0)
    many, wanted = outputs.repeat(100, 1), targets.repeat(100)
    noisy = many + 0.5 * torch.randn(many.shape, generator=generator)
    divergence = problem.divergence(noisy.double(), many.double())
    small = many + 0.05 * torch.randn(many.shape, generator=generator)
    assert problem.expected_drop(0.0, outputs, targets) == 0.0
    deviation_2 = problem.divergence(small.double(), many.double()) / 0.05**2
    assert problem.expected_drop(deviation_2 * 1.5**2, outputs, targets) == pytest.approx(
        1 - problem.quality_of(many + 1.5 * torch.randn(many.shape, generator=generator), wanted), abs=0.06
    )
    assert 0 < problem.expected_drop(divergence, outputs, targets) < 0.05
