"""Pruning with feedback: what a removed weight did is made up for by the weights that stay."""

import numpy as np
import torch
from scipy.linalg.lapack import dposv
from torch import Tensor

from compression.solvers.factors import upper_factor
from compression.solvers.gptq import BLOCK


def prune_with_feedback(
    weight: Tensor, hessian: Tensor, sparsity: float, pattern: tuple[int, int] | None = None,
    upper: Tensor | None = None, fixed: Tensor | None = None,
) -> Tensor:
    """SparseGPT (Frantar and Alistarh, arXiv 2301.00774): choose and remove weights block by block of columns.

    Args:
        weight: (G, R, K).
        hessian: (G, K, K), damped, float64.
        sparsity: Fraction of weights to remove; ignored with a pattern.
        pattern: ``(n, m)``: keep n of each m consecutive inputs.
        upper: The Hessian's `upper_factor`, where the caller has it.
        fixed: Boolean (G, R, K), True where a weight is zero already: it stays so and counts as removed.

    Returns:
        New weights, float64 (G, R, K), exactly zero where removed.
    """
    work = weight.double().transpose(1, 2).clone(memory_format=torch.contiguous_format)
    if upper is None:
        upper = upper_factor(hessian)
    scale = torch.diagonal(upper, dim1=1, dim2=2).square()
    values, factor = work.numpy(), upper.numpy()
    zeros = torch.zeros_like(work, dtype=torch.bool) if fixed is None else fixed.transpose(1, 2)
    step = pattern[1] if pattern is not None else BLOCK
    removed_so_far = 0
    for start in range(0, work.shape[1], step):
        end = min(start + step, work.shape[1])
        scores = (work[:, start:end].square() / scale[:, start:end, None]).masked_fill(zeros[:, start:end], -1.0)
        if pattern is None:
            remove = _lowest(scores, round(sparsity * work[:, :end].numel()) - removed_so_far)
        else:
            remove = _lowest_per_output(scores, end - start - min(pattern[0], end - start))
        remove |= zeros[:, start:end]
        removed_so_far += int(remove.sum())
        gone, errors = remove.numpy(), np.empty_like(values[:, start:end])
        for column in range(start, end):
            error = values[:, column] * gone[:, column - start] / factor[:, column, column, None]
            values[:, column + 1 : end] -= factor[:, column, column + 1 : end, None] * error[:, None]
            errors[:, column - start] = error
        work[:, start:end][remove] = 0.0
        work[:, end:] -= upper[:, start:end, end:].transpose(1, 2) @ torch.from_numpy(errors)
    return work.transpose(1, 2)


def _lowest(scores: Tensor, count: int) -> Tensor:
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    mask[torch.topk(scores.flatten(), max(0, min(count, scores.numel())), largest=False).indices] = True
    return mask.reshape(scores.shape)


def _lowest_per_output(scores: Tensor, count: int) -> Tensor:
    mask = torch.zeros_like(scores, dtype=torch.bool)
    return mask.scatter(1, torch.topk(scores, count, dim=1, largest=False).indices, True)


def refit_cost(mask: Tensor) -> float:
    """Floating-point operations of `refit_kept`: a Cholesky factorization per output."""
    kept = mask.sum(-1, dtype=torch.float64)
    return float(torch.minimum(kept, mask.shape[-1] - kept).pow(3).sum() / 3)


def refit_kept(weight: Tensor, hessian: Tensor, mask: Tensor) -> Tensor:
    """Least-squares values of the weights that stay, given which stay.

    Per output ``w'_M = (H_MM)^-1 (H w)_M`` for those that stay, or ``w' = w - (H^-1)_:R ((H^-1)_RR)^-1 w_R`` by those
    that go (optimal brain surgeon; Hassibi and Stork 1993): the same, by the smaller of the two systems.

    Args:
        weight: (G, R, K), before pruning.
        hessian: (G, K, K), damped, float64.
        mask: Boolean (G, R, K), True where a weight stays.

    Returns:
        float64 (G, R, K), zero where the mask is False.
    """
    before = weight.double()
    target = before @ hessian
    solved, inverse = torch.zeros_like(target), _inverse_where_dense(hessian, mask)
    forces = torch.zeros_like(target)  # (H^-1)_RR^-1 w_R where that is the smaller system
    for group in range(len(weight)):
        rows = zip(mask[group].numpy(), before[group].numpy(), target[group].numpy(), strict=True)
        for row, (stays, old, wanted) in enumerate(rows):
            kept, gone = np.flatnonzero(stays), np.flatnonzero(~stays)
            if len(kept) <= len(gone):
                solved[group, row].numpy()[kept] = _solve(hessian[group].numpy(), kept, wanted)
            elif inverse is not None:
                forces[group, row].numpy()[gone] = _solve(inverse[group].numpy(), gone, old)
    if inverse is None:
        return solved
    dense = mask.sum(-1, keepdim=True) > mask.shape[-1] / 2
    return torch.where(dense, (before - forces @ inverse).masked_fill(~mask, 0.0), solved)


def _inverse_where_dense(hessian: Tensor, mask: Tensor) -> Tensor | None:
    """Inverse (G, K, K) if more than half of any output's weights stay."""
    if not bool((mask.sum(-1) > mask.shape[-1] / 2).any()):
        return None
    upper = upper_factor(hessian)
    return upper.transpose(1, 2) @ upper


def _solve(matrix: np.ndarray, rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``(A_SS)^-1 b_S`` of a positive definite matrix and some of its rows; one small system costs LAPACK less than
    torch's dispatch.

    Raises:
        LinAlgError: if it is not positive definite.
    """
    if not len(rows):
        return target[rows]
    _, solution, info = dposv(matrix[np.ix_(rows, rows)], target[rows], overwrite_a=True)
    if info:
        raise np.linalg.LinAlgError("the matrix is not positive definite")
    return solution
