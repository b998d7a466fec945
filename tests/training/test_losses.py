"""Distillation losses against hand computations."""

import pytest
import torch
import torch.nn.functional as F

from compression.problems.losses import distillation_loss

T, ALPHA = 3.0, 0.7


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (2 * torch.randn(6, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    return logits.requires_grad_(), teacher, torch.randint(0, 5, (6,), generator=generator)


def test_gradient_equals_the_hand_computation(batch: tuple[torch.Tensor, ...]) -> None:
    """d/dz of CE is ``p - y``, of ``T^2 KL`` is ``T (p_T - q_T)``, each over the batch's size (1503.02531)."""
    logits, teacher, targets = batch
    distillation_loss(logits, teacher, targets, temperature=T, alpha=ALPHA).backward()
    z = logits.detach()
    hard = z.softmax(-1) - F.one_hot(targets, 5)
    soft = T * ((z / T).softmax(-1) - (teacher / T).softmax(-1))
    torch.testing.assert_close(logits.grad, ((1 - ALPHA) * hard + ALPHA * soft) / len(z))


def test_decoupled_parts_add_up_to_the_plain_divergence(batch: tuple[torch.Tensor, ...]) -> None:
    """``KL = TCKD + (1 - p_target) NCKD`` (2203.08679, equation 6), so that the decoupled loss follows from it."""
    logits, teacher, targets = batch
    p, q = (teacher / T).softmax(-1), (logits.detach() / T).softmax(-1)
    binary, others = torch.zeros(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    for i, t in enumerate(targets.tolist()):
        rest = [c for c in range(5) if c != t]
        binary[i] = p[i, t] * (p[i, t] / q[i, t]).log() + (1 - p[i, t]) * ((1 - p[i, t]) / (1 - q[i, t])).log()
        inner_p, inner_q = p[i, rest] / (1 - p[i, t]), q[i, rest] / (1 - q[i, t])
        others[i] = (inner_p * (inner_p / inner_q).log()).sum()
        whole = (p[i] * (p[i] / q[i]).log()).sum()
        torch.testing.assert_close(whole, binary[i] + (1 - p[i, t]) * others[i])
    found = distillation_loss(logits, teacher, targets, temperature=T, alpha=1.0, kind="decoupled")
    torch.testing.assert_close(found.detach(), T**2 * (binary + 2 * others).mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["kd", "decoupled"])
def test_without_the_teachers_weight_it_is_cross_entropy(kind: str, batch: tuple[torch.Tensor, ...]) -> None:
    logits, teacher, targets = batch
    found = distillation_loss(logits, teacher, targets, temperature=T, alpha=0.0, kind=kind)
    torch.testing.assert_close(found, F.cross_entropy(logits, targets))


@pytest.mark.parametrize("kind", ["kd", "decoupled"])
def test_a_student_equal_to_its_teacher_has_no_soft_gradient(kind: str, batch: tuple[torch.Tensor, ...]) -> None:
    _, teacher, targets = batch
    student = teacher.clone().requires_grad_()
    distillation_loss(student, teacher, targets, temperature=T, alpha=1.0, kind=kind).backward()
    torch.testing.assert_close(student.grad, torch.zeros_like(student), rtol=0, atol=1e-9)
