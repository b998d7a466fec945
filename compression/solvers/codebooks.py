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
    allowed, bounds = ascending.numpy(), middles.numpy()
    factor = None if scale is None else torch.where(scale == 0, 1.0, scale.double()).unflatten(0, (groups, -1))
    scales = None if factor is None else factor.numpy()

    def round_column(values: np.ndarray, index: np.ndarray) -> np.ndarray:
        del index
        if scales is None:
            return allowed[bounds.searchsorted(values)]
        return allowed[bounds.searchsorted(values / scales)] * scales

    zeros = None if fixed is None else fixed.flatten(1).unflatten(0, (groups, -1))
    rounded = round_with_feedback(rows, batched, round_column, zeros)
    if factor is not None:
        rounded = rounded / factor[..., None]
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
        float64 (k,); the product with the Hessian is taken in float32.
    """
    rows, batched = grouped(weight.double(), hessian)
    chosen = indices.flatten(1).unflatten(0, (len(batched), -1))
    picks = torch.nn.functional.one_hot(chosen, count).float()
    weighted = torch.einsum("gjk,grkc->grjc", batched.float(), picks).double()  # nearly all of the work
    picks = picks.double()
    matrix = torch.einsum("grjc,grjd->cd", picks, weighted)
    target = torch.einsum("grjc,grj->c", weighted, rows)
    if keep_zero is not None:
        matrix[keep_zero], matrix[:, keep_zero], target[keep_zero] = 0.0, 0.0, 0.0
        matrix[keep_zero, keep_zero] = 1.0
    unused = torch.diagonal(matrix) == 0
    matrix[unused, unused] = 1.0
    return torch.linalg.solve(matrix, target)
