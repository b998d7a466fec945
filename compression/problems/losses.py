"""Losses of distillation."""

import torch
import torch.nn.functional as F
from torch import Tensor


def distillation_loss(
    logits: Tensor, teacher: Tensor, targets: Tensor, *, temperature: float, alpha: float, kind: str = "kd"
) -> Tensor:
    """``(1 - alpha) CE + alpha T^2 KL`` (Hinton et al., arXiv 1503.02531), or its decoupled form.

    Args:
        logits: (N, C) of the student.
        teacher: (N, C) of the teacher.
        targets: int64 (N,).
        temperature: T.
        alpha: Weight of the teacher, 0 to 1.
        kind: "kd", or "decoupled" (DKD, Zhao et al., arXiv 2203.08679): target and non-target classes apart.

    Returns:
        Scalar.
    """
    hard = F.cross_entropy(logits, targets)
    if alpha == 0:
        return hard
    soft = _decoupled if kind == "decoupled" else _plain
    return (1 - alpha) * hard + alpha * temperature**2 * soft(logits / temperature, teacher / temperature, targets)


def _plain(logits: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
    del targets
    return F.kl_div(logits.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="batchmean")


def _decoupled(logits: Tensor, teacher: Tensor, targets: Tensor, beta: float = 2.0) -> Tensor:
    """Binary divergence of target against rest, plus beta times the divergence among the other classes."""
    hit = F.one_hot(targets, logits.shape[-1]).bool()
    ours, theirs = logits.log_softmax(-1), teacher.log_softmax(-1)
    binary = _two_sided(theirs[hit]) * (_two_sided(theirs[hit]).log() - _two_sided(ours[hit]).log())
    rest = F.kl_div(
        logits.masked_fill(hit, -1e4).log_softmax(-1), teacher.masked_fill(hit, -1e4).log_softmax(-1),
        log_target=True, reduction="batchmean",
    )
    return binary.sum() / len(logits) + beta * rest


def _two_sided(log_probability: Tensor) -> Tensor:
    probability = log_probability.exp().clamp(1e-7, 1 - 1e-7)
    return torch.stack([probability, 1 - probability])
