"""Least-squares reconstruction of a layer that has lost some of its inputs."""

from collections.abc import Callable

import torch
from torch import Tensor

from compression.solvers.blocked import cholesky, unwatched


def reconstruct_inputs(
    weight: Tensor, hessian: Tensor, keep: Tensor, watch: Callable[[float], None] = unwatched
) -> Tensor:
    """Weights of the remaining inputs that best reproduce the output: ``W' = W H[:, K] (H_KK)^-1``.

    Args:
        weight: (C_out, K), of all inputs.
        hessian: (K, K), damped, float64.
        keep: Remaining inputs, int64 (k,).
        watch: Called with the fraction done; may raise to stop.

    Returns:
        (C_out, k), in the weight's type.
    """
    rows = hessian.index_select(0, keep)
    target = weight.double() @ rows.t()
    factor = cholesky(rows.index_select(1, keep), watch)
    return torch.cholesky_solve(target.t(), factor).t().to(weight.dtype)


def output_error(change: Tensor, hessian: Tensor) -> Tensor:
    """Squared output error ``tr(D H D^T)`` of a weight change D (C_out, K), per output channel (C_out,)."""
    change = change.double()
    return (change @ hessian.double() * change).sum(-1)
