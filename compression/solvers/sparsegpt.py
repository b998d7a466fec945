"""Pruning with feedback: what a removed weight did is made up for by the weights that stay."""

import torch
from torch import Tensor

from compression.solvers.gptq import BLOCK, upper_factor


def saliency(weight: Tensor, hessian: Tensor) -> Tensor:
    """Output error that removing each weight alone costs after the others adapt: ``w^2 / (H^-1)_jj / 2``.

    Args:
        weight: (G, R, K).
        hessian: (G, K, K), damped, float64.

    Returns:
        float64 (G, R, K) (optimal brain surgeon; Hassibi and Stork 1993).
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    return weight.double().square() / (2 * torch.diagonal(inverse, dim1=1, dim2=2)[:, None, :])


def prune_with_feedback(
    weight: Tensor, hessian: Tensor, sparsity: float, pattern: tuple[int, int] | None = None
) -> Tensor:
    """SparseGPT (Frantar and Alistarh, arXiv 2301.00774): choose and remove weights block by block of columns.

    Args:
        weight: (G, R, K).
        hessian: (G, K, K), damped, float64.
        sparsity: Fraction of weights to remove; ignored with a pattern.
        pattern: ``(n, m)``: keep n of each m consecutive inputs.

    Returns:
        New weights, float64 (G, R, K), exactly zero where removed.
    """
    work, upper = weight.double().clone(), upper_factor(hessian)
    scale = torch.diagonal(upper, dim1=1, dim2=2).square()
    columns = work.shape[2]
    step = pattern[1] if pattern is not None else BLOCK
    removed_so_far = 0
    for start in range(0, columns, step):
        end = min(start + step, columns)
        scores = work[:, :, start:end].square() / scale[:, None, start:end]
        if pattern is None:
            target = round(sparsity * work[:, :, :end].numel()) - removed_so_far
            remove = _lowest(scores, target)
            removed_so_far += int(remove.sum())
        else:
            remove = _lowest_per_row(scores, end - start - min(pattern[0], end - start))
        block, errors = work[:, :, start:end], torch.empty_like(work[:, :, start:end])
        for column in range(end - start):
            error = block[:, :, column] * remove[:, :, column] / upper[:, start + column, start + column, None]
            block[:, :, column:] -= error[:, :, None] * upper[:, None, start + column, start + column : end]
            errors[:, :, column] = error
        block[remove] = 0.0
        work[:, :, end:] -= errors @ upper[:, start:end, end:]
    return work


def _lowest(scores: Tensor, count: int) -> Tensor:
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    mask[torch.topk(scores.flatten(), max(0, min(count, scores.numel())), largest=False).indices] = True
    return mask.reshape(scores.shape)


def _lowest_per_row(scores: Tensor, count: int) -> Tensor:
    mask = torch.zeros_like(scores, dtype=torch.bool)
    return mask.scatter(-1, torch.topk(scores, count, dim=-1, largest=False).indices, True)


def refit_kept(weight: Tensor, hessian: Tensor, mask: Tensor) -> Tensor:
    """Least-squares values of the weights that stay, given which stay: ``w'_M = (H_MM)^-1 (H w)_M`` per output.

    Args:
        weight: (G, R, K), before pruning.
        hessian: (G, K, K), damped, float64.
        mask: Boolean (G, R, K), True where a weight stays.

    Returns:
        float64 (G, R, K), zero where the mask is False.
    """
    target = weight.double() @ hessian
    solved = torch.zeros_like(target)
    for group in range(len(weight)):
        for row in range(weight.shape[1]):
            kept = mask[group, row].nonzero().flatten()
            if len(kept):
                factor = torch.linalg.cholesky(hessian[group][kept[:, None], kept])
                solved[group, row, kept] = torch.cholesky_solve(target[group, row, kept, None], factor)[:, 0]
    return solved
