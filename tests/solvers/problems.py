"""Random layers with correlated inputs, and solvers in their plainest form."""

from collections.abc import Callable

import torch
from torch import Tensor


def layer(seed: int, groups: int = 1, outputs: int = 6, inputs: int = 24) -> tuple[Tensor, Tensor]:
    """Weight (G, R, K) and damped Hessian (G, K, K) of strongly correlated inputs, float64."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(groups, outputs, inputs, generator=generator, dtype=torch.float64)
    mix = torch.randn(groups, inputs, inputs, generator=generator, dtype=torch.float64)
    spread = torch.logspace(0, -1.5, inputs, dtype=torch.float64)[:, None]
    x = mix.transpose(1, 2) @ (spread * torch.randn(groups, inputs, 4 * inputs, generator=generator).double())
    hessian = 2 / x.shape[-1] * x @ x.transpose(1, 2)
    damping = 0.01 * torch.diagonal(hessian, dim1=1, dim2=2).mean(1)
    return weight, hessian + damping[:, None, None] * torch.eye(inputs, dtype=torch.float64)


def error(change: Tensor, hessian: Tensor) -> float:
    """``tr(D H D^T)`` over all groups."""
    return float(torch.einsum("grj,gjk,grk->", change.double(), hessian, change.double()))


def obs_round(weight: Tensor, hessian: Tensor, allowed: Callable[[Tensor], Tensor], fixed: Tensor | None) -> Tensor:
    """Textbook GPTQ of one group: after each column, optimal brain surgeon on the inverse of what is left.

    Args:
        weight: (R, K).
        hessian: (K, K).
        allowed: ``(R,) -> (R,)``.
        fixed: True where a weight stays zero, or None.
    """
    order = torch.argsort(torch.diagonal(hessian), descending=True).tolist()
    work, left = weight.clone(), list(order)
    for column in order:
        chosen = allowed(work[:, column])
        if fixed is not None:
            chosen = torch.where(fixed[:, column], 0.0, chosen)
        inverse = torch.linalg.inv(hessian[left][:, left])
        step = (work[:, column] - chosen) / inverse[0, 0]
        work[:, left] -= step[:, None] * inverse[0]
        work[:, column] = chosen
        left = left[1:]
    return work


def obs_prune(weight: Tensor, hessian: Tensor, remove: Callable[[Tensor, Tensor], Tensor], step: int) -> Tensor:
    """Textbook SparseGPT of one group: blocks of `step` columns, chosen together, then removed column by column.

    Args:
        weight: (R, K).
        hessian: (K, K).
        remove: ``(weights of the block (R, n), their costs) -> mask (R, n)``.
        step: Columns that are chosen together.
    """
    work, inputs = weight.clone(), weight.shape[1]
    for start in range(0, inputs, step):
        block = range(start, min(start + step, inputs))
        inverses = [torch.linalg.inv(hessian[c:, c:]) for c in block]
        costs = torch.stack([work[:, c].square() / i[0, 0] for c, i in zip(block, inverses, strict=True)], 1)
        gone = remove(work[:, start : block[-1] + 1], costs)
        for place, (column, inverse) in enumerate(zip(block, inverses, strict=True)):
            step_size = work[:, column] * gone[:, place] / inverse[0, 0]
            work[:, column:] -= step_size[:, None] * inverse[0]
            work[gone[:, place], column] = 0.0
    return work
