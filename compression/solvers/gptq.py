"""Rounding with feedback: each column's error is made up for by the columns that are still to be rounded."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from compression.solvers.factors import ordered_factor

BLOCK = 64
RoundColumn = Callable[[np.ndarray, np.ndarray], np.ndarray]


def round_with_feedback(
    weight: Tensor, hessian: Tensor, round_column: RoundColumn, fixed: Tensor | None = None
) -> Tensor:
    """GPTQ (Frantar et al., arXiv 2210.17323) with columns in the order of decreasing ``diag(H)``.

    Args:
        weight: (G, R, K) for G groups with R outputs and K inputs each; G is 1 for ordinary layers.
        hessian: (G, K, K), damped, float64.
        round_column: ``(values (G, R), column index (G,)) -> allowed values (G, R)``, arrays.
        fixed: Boolean (G, R, K), True where a weight stays zero (pruned).

    Returns:
        Allowed values, float64 (G, R, K); their output error is that of the greedy solution. Feedback beyond a
        block of columns is applied once per block, which is the same and faster; within a block NumPy's smaller
        cost per call counts.
    """
    order, upper = ordered_factor(hessian)
    groups = torch.arange(len(order))[:, None]
    work = weight.double().transpose(1, 2)[groups, order].contiguous()
    zeros = None if fixed is None else fixed.transpose(1, 2)[groups, order].numpy()
    solved = torch.empty_like(work)
    values, factor, columns, allowed = work.numpy(), upper.numpy(), order.numpy(), solved.numpy()
    for start in range(0, work.shape[1], BLOCK):
        end = min(start + BLOCK, work.shape[1])
        errors = np.empty_like(values[:, start:end])
        for column in range(start, end):
            current = values[:, column]
            chosen = round_column(current, columns[:, column])
            if zeros is not None:
                chosen = np.where(zeros[:, column], 0.0, chosen)
            allowed[:, column] = chosen
            error = (current - chosen) / factor[:, column, column, None]
            values[:, column + 1 : end] -= factor[:, column, column + 1 : end, None] * error[:, None]
            errors[:, column - start] = error
        work[:, end:] -= upper[:, start:end, end:].transpose(1, 2) @ torch.from_numpy(errors)
    restored = torch.empty_like(solved)
    restored[groups, order] = solved
    return restored.transpose(1, 2)


def grouped(weight: Tensor, hessian: Tensor) -> tuple[Tensor, Tensor]:
    """A layer's weight (C_out, ...) as (G, R, K) to its Hessian (K, K) or (G, K, K)."""
    batched = hessian if hessian.ndim == 3 else hessian[None]
    return weight.flatten(1).unflatten(0, (len(batched), -1)), batched
