"""Least-squares reconstruction of a layer that has lost some of its inputs."""

import torch
from torch import Tensor


def reconstruct_inputs(weight: Tensor, hessian: Tensor, keep: Tensor) -> Tensor:
    """Weights of the remaining inputs that best reproduce the output: ``W' = W H[:, K] (H_KK)^-1``.

    Args:
        weight: (C_out, K), of all inputs.
        hessian: (K, K), damped, float64.
        keep: Remaining inputs, int64 (k,).

    Returns:
        (C_out, k), in the weight's type.
    """
    rows = hessian.index_select(0, keep)
    target = weight.double() @ rows.t()
    factor = torch.linalg.cholesky(rows.index_select(1, keep))
    return torch.cholesky_solve(target.t(), factor).t().to(weight.dtype)


def output_error(change: Tensor, hessian: Tensor) -> Tensor:
    """Squared output error ``tr(D H D^T)`` of a weight change D (C_out, K), per output channel (C_out,)."""
    change = change.double()
    return (change @ hessian.double() * change).sum(-1)
