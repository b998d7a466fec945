"""Grids of least error for a weight, and rounding to them with feedback."""

import math

import numpy as np
import torch
from torch import Tensor

from compression.solvers.gptq import RoundColumn, grouped, round_with_feedback
from compression.state import UniformGrid

_SHRINK = torch.linspace(1.0, 0.35, 40)
_FEW_BITS = 3
_REFITS = 3
_PERCENTILE = 99.0


def choose_grid(
    weight: Tensor, bits: int, granularity: str = "channel", group_size: int = 64, method: str = "mse",
    symmetry: str = "symmetric",
) -> UniformGrid:
    """Grid over the range of a weight.

    Args:
        weight: (C_out, ...).
        bits: 2 to 8.
        granularity: "tensor", "channel" or "group".
        group_size: Inputs per group; where it does not divide them, the grid is per channel.
        method: "minmax", up to the largest weight; "percentile", up to the size that 99 % of the weights stay below;
            or "mse", the range of least squared rounding error.
        symmetry: "symmetric", as far below zero as above, with a level more on the side that needs it where "mse" is
            asked for at 2 and 3 bits; or "affine", a range of its own on each side. Zero lies on both.
    """
    blocks, group = _blocks(weight, granularity, group_size)
    zero = None
    if symmetry == "affine":
        scale, zero = _affine(blocks, bits, method)
    elif method == "mse" and bits <= _FEW_BITS:
        scale, zero = _with_extra_level(blocks, bits)
    else:
        half = 2 ** (bits - 1) - 1
        scale = _top(blocks.abs(), method) / half
        if method == "mse":
            scale, _ = _least_error(blocks, scale, -half, half)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    if group:
        return UniformGrid(bits, scale, zero, group)
    return UniformGrid(bits, scale[:, 0], None if zero is None else zero[:, 0], 0)


def _blocks(weight: Tensor, granularity: str, group_size: int) -> tuple[Tensor, int]:
    """Weights that share a scale, (rows, blocks per row, size), and the group size in use."""
    rows = weight.flatten(1)
    if granularity == "group" and rows.shape[1] % group_size == 0:
        return rows.unflatten(1, (-1, group_size)), group_size
    return (rows.reshape(1, 1, -1) if granularity == "tensor" else rows.unsqueeze(1)), 0


def _top(values: Tensor, method: str) -> Tensor:
    """Upper end of the range of values (..., size)."""
    if method != "percentile":
        return values.amax(-1)
    return values.kthvalue(math.ceil(_PERCENTILE / 100 * values.shape[-1]), dim=-1).values


def _affine(blocks: Tensor, bits: int, method: str) -> tuple[Tensor, Tensor]:
    """Scale and zero point; with "mse" of the neighbouring zero points the one that rounds best."""
    levels = 2**bits - 1
    below, above = _top(-blocks, method).clamp(min=0), _top(blocks, method).clamp(min=0)
    scale = (below + above) / levels
    zero = (below / scale.clamp(min=1e-30)).round().clamp(0, levels)
    if method == "mse":
        best = _squared_error(blocks, scale, -zero.unsqueeze(-1), (levels - zero).unsqueeze(-1))
        for candidate in [(zero + shift).clamp(0, levels) for shift in (-1, 0, 1)]:
            low, high = -candidate, levels - candidate
            whole = torch.maximum(*(torch.where(n > 0, r / n, 0.0) for r, n in ((below, candidate), (above, high))))
            trial, error = _least_error(blocks, whole, low.unsqueeze(-1), high.unsqueeze(-1))
            better = error < best
            scale, zero = torch.where(better, trial, scale), torch.where(better, candidate, zero)
            best = torch.minimum(error, best)
    return scale, zero.to(torch.int32)


def _least_error(
    blocks: Tensor, scale: Tensor, low: int | Tensor, high: int | Tensor
) -> tuple[Tensor, Tensor]:
    """Scale of least squared error for symbols from `low` to `high`, and that error."""
    best, chosen = torch.full_like(scale, torch.inf), scale
    for factor in _SHRINK:
        trial = (scale * factor).clamp(min=1e-12)
        error = _squared_error(blocks, trial, low, high)
        chosen = torch.where(error < best, trial, chosen)
        best = torch.minimum(error, best)
    return chosen, best


def _squared_error(blocks: Tensor, scale: Tensor, low: int | Tensor, high: int | Tensor) -> Tensor:
    step = scale.clamp(min=1e-12).unsqueeze(-1)
    return ((blocks / step).round().clamp(low, high) * step - blocks).square().sum(-1)


def _with_extra_level(blocks: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """All ``2^bits`` levels: one more below or above zero, whichever rounds better; scale and zero point."""
    half = 2 ** (bits - 1)
    top = blocks.abs().amax(-1) / (half - 1)
    below, below_error = _least_error(blocks, top, -half, half - 1)
    above, above_error = _least_error(blocks, top, -(half - 1), half)
    scale = torch.where(below_error < above_error, below, above)
    return scale, torch.where(below_error < above_error, half, half - 1).to(torch.int32)


def fit_with_feedback(
    weight: Tensor, grid: UniformGrid, hessian: Tensor, fixed: Tensor | None = None
) -> tuple[UniformGrid, Tensor]:
    """Round with feedback; at few bits refit the scale of each channel to the symbols found, and keep the best.

    Args:
        weight: (C_out, ...).
        grid: Start; per tensor, channel or group.
        hessian: Damped, float64, (K, K) or (G, K, K).
        fixed: Boolean, True where a weight stays zero.

    Returns:
        The grid and the rounded weight.
    """
    rows, batched = grouped(weight.double(), hessian)
    zeros = None if fixed is None else fixed.flatten(1).unflatten(0, (len(batched), -1))
    best: tuple[float, UniformGrid, Tensor] | None = None
    refits = _REFITS if grid.bits <= _FEW_BITS and grid.group_size == 0 and grid.scale.numel() > 1 else 1
    for _ in range(refits):
        rounded = round_with_feedback(rows, batched, _rounding(grid, weight, len(batched)), zeros)
        error = _error(rounded - rows, batched)
        if best is None or error < best[0]:
            best = (error, grid, rounded)
        if refits > 1:
            grid = _refitted(grid, rows, rounded, batched)
    assert best is not None
    return best[1], best[2].flatten(0, 1).reshape(weight.shape).float()


def _rounding(grid: UniformGrid, weight: Tensor, groups: int) -> RoundColumn:
    inputs = weight[0].numel()
    high = 2 ** (grid.bits - 1) - 1
    columns = inputs // grid.group_size if grid.group_size else 1
    scale = grid.scale.double().reshape(-1, columns).expand(weight.shape[0], columns).unflatten(0, (groups, -1))
    if grid.zero_point is None:
        low_symbol, high_symbol = torch.full_like(scale, -high), torch.full_like(scale, high)
    else:
        zero = grid.zero_point.double().reshape(-1, columns).expand(weight.shape[0], columns).unflatten(0, (groups, -1))
        low_symbol, high_symbol = -zero, 2**grid.bits - 1 - zero
    rows = np.arange(groups)
    scales, lowest, highest = scale.numpy(), low_symbol.numpy(), high_symbol.numpy()

    def round_column(values: np.ndarray, index: np.ndarray) -> np.ndarray:
        column = index // grid.group_size if grid.group_size else np.zeros_like(index)
        own = scales[rows, :, column]
        symbols = np.rint(values / own)
        return np.minimum(np.maximum(symbols, lowest[rows, :, column]), highest[rows, :, column]) * own

    return round_column


def _error(change: Tensor, hessian: Tensor) -> float:
    return float(((change @ hessian) * change).sum())


def _refitted(grid: UniformGrid, rows: Tensor, rounded: Tensor, hessian: Tensor) -> UniformGrid:
    """Scale of least output error for the symbols found: ``s = w H q / q H q`` per channel."""
    scale = grid.scale.double().unflatten(0, (len(hessian), -1)).unsqueeze(-1)
    symbols = (rounded / scale).round()
    weighted = symbols @ hessian
    numerator, denominator = (weighted * rows).sum(-1), (weighted * symbols).sum(-1)
    factor = torch.where((denominator > 0) & (numerator > 0), numerator / denominator.clamp(min=1e-30), scale[..., 0])
    return UniformGrid(grid.bits, factor.flatten().float(), grid.zero_point, 0)
