"""Factorizations of least output error, and ranks under one budget."""

import math

import numpy as np
import torch
from torch import Tensor


def whitened_svd(weight: Tensor, hessian: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """SVD of ``W S`` with ``H = S S^T`` (SVD-LLM, Wang et al., arXiv 2403.07378); plain SVD without a Hessian.

    The squared output error of keeping r values is exactly the sum of the dropped squared singular values.

    Args:
        weight: (C_out, K).
        hessian: (K, K), damped, float64, or None.

    Returns:
        ``left`` (C_out, n), ``values`` (n,) descending, ``right`` (n, K), float64; ``left values right = W``.
    """
    if hessian is None:
        left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
        return left, values, right
    factor = torch.linalg.cholesky(hessian)
    left, values, right = torch.linalg.svd(weight.double() @ factor, full_matrices=False)
    return left, values, torch.linalg.solve_triangular(factor, right, upper=False, left=False)


def factors(svd: tuple[Tensor, Tensor, Tensor], rank: int) -> tuple[Tensor, Tensor]:
    """Balanced factors ``first`` (rank, K) and ``second`` (C_out, rank), float32."""
    left, values, right = (part[:, :rank] if i == 0 else part[:rank] for i, part in enumerate(svd))
    root = values.sqrt()
    return (root[:, None] * right).float(), (left * root).float()


def allocate_ranks(
    errors: list[np.ndarray], costs: list[np.ndarray], budget: float, bins: int = 2000
) -> list[int]:
    """Choose one option per layer with the least summed error within a budget, by dynamic programming over layers.

    Args:
        errors: Per layer, the error of each option.
        costs: Per layer, the weights of each option.
        budget: Most weights in all.
        bins: Resolution of the budget.

    Returns:
        Index of the chosen option per layer (SPDY's recursion, Frantar and Alistarh, arXiv 2201.13096); where even
        the cheapest options exceed the budget, these.
    """
    unit = max(budget, 1.0) / bins
    best = np.zeros(bins + 1)
    choices: list[np.ndarray] = []
    for error, cost in zip(errors, costs, strict=True):
        steps = np.ceil(cost / unit).astype(int)
        table = np.full((len(error), bins + 1), np.inf)
        for option, step in enumerate(steps):
            if step <= bins:
                table[option, step:] = best[: bins + 1 - step] + error[option]
        choices.append(table.argmin(0))
        best = table.min(0)
    if not math.isfinite(best[bins]):
        return [int(cost.argmin()) for cost in costs]
    picked, left = [], bins
    for choice, cost in zip(reversed(choices), reversed(costs), strict=True):
        option = int(choice[left])
        picked.append(option)
        left -= math.ceil(cost[option] / unit)
    return picked[::-1]
