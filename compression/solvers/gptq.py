"""Rounding with feedback: each column's error is made up for by the columns that are still to be rounded."""

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 64
RoundColumn = Callable[[Tensor, Tensor], Tensor]


def round_with_feedback(
    weight: Tensor, hessian: Tensor, round_column: RoundColumn, fixed: Tensor | None = None
) -> Tensor:
    """GPTQ (Frantar et al., arXiv 2210.17323) with columns in the order of decreasing ``diag(H)``.

    Args:
        weight: (G, R, K) for G groups with R outputs and K inputs each; G is 1 for ordinary layers.
        hessian: (G, K, K), damped, float64.
        round_column: ``(values (G, R), column index (G,)) -> allowed values (G, R)``.
        fixed: Boolean (G, R, K), True where a weight stays zero (pruned).

    Returns:
        Allowed values, float64 (G, R, K); their output error is that of the greedy solution. Feedback beyond a
        block of columns is applied once per block, which is the same and faster.
    """
    order = torch.argsort(torch.diagonal(hessian, dim1=1, dim2=2), dim=1, descending=True)
    groups = torch.arange(len(order))[:, None]
    work = weight.double().transpose(1, 2)[groups, order].transpose(1, 2).clone()
    ordered = hessian[groups[:, :, None], order[:, :, None], order[:, None, :]]
    upper = upper_factor(ordered)
    zeros = None if fixed is None else fixed.transpose(1, 2)[groups, order].transpose(1, 2)
    solved = torch.empty_like(work)
    for start in range(0, work.shape[2], BLOCK):
        end = min(start + BLOCK, work.shape[2])
        block, errors = work[:, :, start:end], torch.empty_like(work[:, :, start:end])
        for column in range(start, end):
            values = work[:, :, column]
            allowed = round_column(values, order[:, column])
            if zeros is not None:
                allowed = torch.where(zeros[:, :, column], torch.zeros_like(allowed), allowed)
            solved[:, :, column] = allowed
            error = (values - allowed) / upper[:, column, column, None]
            block[:, :, column - start :] -= error[:, :, None] * upper[:, None, column, column:end]
            errors[:, :, column - start] = error
        work[:, :, end:] -= errors @ upper[:, start:end, end:]
    restored = torch.empty_like(solved)
    restored.transpose(1, 2)[groups, order] = solved.transpose(1, 2)
    return restored


def upper_factor(hessian: Tensor) -> Tensor:
    """Upper Cholesky factor U of the inverse, ``H^-1 = U^T U``."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    return torch.linalg.cholesky(inverse, upper=True)


def grouped(weight: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's weight (C_out, ...) as (G, R, K) to its Hessian (K, K) or (G, K, K)."""
    batched = hessian if hessian.ndim == 3 else hessian[None]
    return weight.flatten(1).unflatten(0, (len(batched), -1)), batched
