"""Uniform steps whose integers meet a rate in bits per weight once they are entropy-coded.

In the norm ``tr(E H E^T)`` of a layer's output error, rounding with feedback to one uniform step leaves the same error
in every column, ``step^2 / 12`` times a conditional precision ``1 / U_jj^2``; so layers are balanced by one number each
(reverse water-filling, Cover and Thomas, chapter 10), and one common factor sets the rate of all.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from compression.solvers.factors import ordered_factor
from compression.solvers.gptq import round_with_feedback

_BISECTIONS = 26
_SAMPLED = 2**20


def conditional_precision(hessian: Tensor) -> Tensor:
    """Geometric mean over columns of ``1 / U_jj^2``, with ``H^-1 = U^T U`` in GPTQ's column order.

    Args:
        hessian: Damped, (G, K, K).

    Returns:
        (G,), float64.
    """
    _, upper = ordered_factor(hessian)
    return (-2 * torch.diagonal(upper, dim1=1, dim2=2).log()).mean(1).exp()


def output_energy_per_weight(rows: Tensor, hessian: Tensor) -> float:
    """``tr(W H W^T)`` per weight.

    Args:
        rows: (G, R, K).
        hessian: (G, K, K).
    """
    return float(((rows @ hessian) * rows).sum() / rows.numel())


def round_to_steps(
    rows: Tensor, steps: Tensor, hessian: Tensor | None, limit: int, fixed: Tensor | None = None
) -> Tensor:
    """Integers ``q`` with ``q * step`` near the weights, with feedback of errors where there is a Hessian.

    Args:
        rows: Weights (G, R, K), float64.
        steps: (G, R), positive.
        hessian: Damped, (G, K, K), or None.
        limit: Largest ``|q|``.
        fixed: True where a weight stays zero, (G, R, K).

    Returns:
        int32 (G, R, K).
    """
    scales = steps.double().numpy()

    def round_column(values: np.ndarray, index: np.ndarray) -> np.ndarray:
        del index
        return np.clip(np.rint(values / scales), -limit, limit) * scales

    if hessian is None:
        nearest = torch.round(rows / steps[..., None]).clamp(-limit, limit)
        return (nearest if fixed is None else nearest.masked_fill(fixed, 0)).to(torch.int32)
    solved = round_with_feedback(rows, hessian, round_column, fixed)
    return torch.round(solved / steps.double()[..., None]).to(torch.int32)


def factor_for_rate(weights: list[Tensor], steps: list[Tensor], limit: int, bits_per_weight: float) -> float:
    """Common factor of all steps at which plainly rounded weights have so much entropy.

    Args:
        weights: (C_out, K) each.
        steps: (C_out,) each, for a factor of 1; never so small that a weight exceeds the largest integer.
        limit: Largest integer.
        bits_per_weight: Zeroth-order entropy over all weights.
    """
    stride = max(1, sum(weight.numel() for weight in weights) // _SAMPLED)
    parts = [
        (weight.flatten()[::stride].numpy(), step[:, None].expand_as(weight).flatten()[::stride].numpy(),
         float(weight.abs().max()) / limit)
        for weight, step in zip(weights, steps, strict=True)
    ]
    count = sum(len(values) for values, _, _ in parts)
    low, high = math.log(1e-9), math.log(1e9)
    for _ in range(_BISECTIONS):
        factor = math.exp((low + high) / 2)
        bits = sum(
            entropy_bits(np.rint(values / np.maximum(factor * step, max(least, 1e-12))))
            for values, step, least in parts
        )
        low, high = (math.log(factor), high) if bits > bits_per_weight * count else (low, math.log(factor))
    return math.exp((low + high) / 2)


def entropy_bits(symbols: np.ndarray) -> float:
    """Zeroth-order entropy of whole numbers, in bits for all of them."""
    whole = symbols.astype(np.int64).ravel()
    counts = np.bincount(whole - whole.min()) if whole.size else np.zeros(0)
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / whole.size)).sum())


def meet_rate(
    solve: Callable[[float], float], factor: float, target: float, tolerance: float, attempts: int
) -> float:
    """Adjust a factor until the rate that comes of it is the one asked for; returns the last factor solved for.

    Args:
        solve: ``factor -> bits per weight``; one bit less for a factor of two, about.
        factor: Where to start.
        target: Bits per weight.
        tolerance: Largest relative deviation.
        attempts: Most calls of `solve`.
    """
    tried: list[tuple[float, float]] = []
    for _ in range(attempts):
        rate = solve(factor)
        tried.append((math.log2(factor), rate))
        if abs(rate / target - 1) <= tolerance:
            break
        slope = -1.0
        if len(tried) > 1 and tried[-1][0] != tried[-2][0]:
            slope = min(-0.2, max(-4.0, (tried[-1][1] - tried[-2][1]) / (tried[-1][0] - tried[-2][0])))
        factor = 2 ** (tried[-1][0] + (target - rate) / slope)
    return 2 ** tried[-1][0]
