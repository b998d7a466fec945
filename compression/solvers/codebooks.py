"""Assignment of weights to codebook entries with feedback, and entries refitted to the assignment."""

import numpy as np
import torch
from torch import Tensor

from compression.solvers.gptq import grouped, round_with_feedback


def assign_with_feedback(
    weight: Tensor, entries: Tensor, hessian: Tensor, fixed: Tensor | None = None, scale: Tensor | None = None
) -> Tensor:
    """Nearest entries column by column, each error made up for by the columns to come (GPTQ's scheme).

    Args:
        weight: (C_out, ...).
        entries: Ascending (k,).
        hessian: Damped, float64, (K, K) or (G, K, K).
        fixed: Boolean, True where a weight stays zero.
        scale: Per output channel (C_out,), or None.

    Returns:
        int64 indices, shaped as the weight; where a weight is fixed, those of the entry nearest to zero.
    """
    rows, batched = grouped(weight.double(), hessian)
    groups = len(batched)
    ascending = entries.double()
    middles = (ascending[1:] + ascending[:-1]) / 2
    factor = (torch.ones(weight.shape[0]) if scale is None else scale).double().unflatten(0, (groups, -1))
    factor = torch.where(factor == 0, 1.0, factor)
    allowed, bounds, scales = ascending.numpy(), middles.numpy(), factor.numpy()

    def round_column(values: np.ndarray, index: np.ndarray) -> np.ndarray:
        del index
        return allowed[np.searchsorted(bounds, values / scales)] * scales

    zeros = None if fixed is None else fixed.flatten(1).unflatten(0, (groups, -1))
    rounded = round_with_feedback(rows, batched, round_column, zeros) / factor[..., None]
    return torch.bucketize(rounded.flatten(0, 1).reshape(weight.shape).contiguous(), middles)


def refit_entries(weight: Tensor, indices: Tensor, count: int, hessian: Tensor, keep_zero: int | None) -> Tensor:
    """Entries of least output error for an assignment: one linear system for the whole layer.

    Args:
        weight: (C_out, ...).
        indices: Assignment, shaped as the weight.
        count: Number of entries k.
        hessian: Damped, float64, (K, K) or (G, K, K).
        keep_zero: Entry that stays exactly zero, or None.

    Returns:
        float64 (k,).
    """
    rows, batched = grouped(weight.double(), hessian)
    chosen = indices.flatten(1).unflatten(0, (len(batched), -1))
    picks = torch.nn.functional.one_hot(chosen, count).double()
    weighted = torch.einsum("gjk,grkc->grjc", batched, picks)
    matrix = torch.einsum("grjc,grjd->cd", picks, weighted)
    target = torch.einsum("grjc,grj->c", weighted, rows)
    if keep_zero is not None:
        matrix[keep_zero], matrix[:, keep_zero], target[keep_zero] = 0.0, 0.0, 0.0
        matrix[keep_zero, keep_zero] = 1.0
    unused = torch.diagonal(matrix) == 0
    matrix[unused, unused] = 1.0
    return torch.linalg.solve(matrix, target)
