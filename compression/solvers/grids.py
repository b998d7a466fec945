"""Grids of least error for a weight, and rounding to them with feedback."""

import numpy as np
import torch
from torch import Tensor

from compression.solvers.gptq import RoundColumn, grouped, round_with_feedback
from compression.state import UniformGrid

_SHRINK = torch.linspace(1.0, 0.35, 40)
_PERCENTILE = 99.9
_FEW_BITS = 3
_REFITS = 3


def choose_grid(
    weight: Tensor, bits: int, granularity: str = "channel", group_size: int = 64, method: str = "mse",
    symmetry: str = "symmetric",
) -> UniformGrid:
    """Symmetric grid (at 2 and 3 bits with "mse" one with a level more on the side that needs it), or an affine one.

    Args:
        weight: (C_out, ...).
        bits: 2 to 8.
        granularity: "tensor", "channel" or "group".
        group_size: Inputs per group; where it does not divide them, the grid is per channel.
        method: "minmax", the extreme weights; "percentile", 99.9 % of them; "mse", the least squared rounding error.
        symmetry: "symmetric", or "affine": levels from the lowest to the highest weight, zero always one of them.
    """
    rows, group = weight.flatten(1), 0
    if granularity == "group" and rows.shape[1] % group_size == 0:
        group = group_size
        blocks = rows.unflatten(1, (-1, group))
    elif granularity == "tensor":
        blocks = rows.reshape(1, 1, -1)
    else:
        blocks = rows.unsqueeze(1)
    if symmetry == "affine":
        return _affine(blocks, bits, group, method)
    low, high = -(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1
    scale = _upper_end(blocks.abs(), method) / high
    if method == "mse":
        scale, error = _least_error(blocks, scale, low, high)
        if bits <= _FEW_BITS:
            return _with_extra_level(blocks, bits, group, scale, error)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return UniformGrid(bits, scale if group else scale[:, 0], None, group)


def _upper_end(values: Tensor, method: str) -> Tensor:
    """Largest value of each block, or its percentile; (C, blocks)."""
    if method != "percentile":
        return values.amax(-1)
    return torch.from_numpy(np.quantile(values.numpy(), _PERCENTILE / 100, axis=-1)).float()


def _affine(blocks: Tensor, bits: int, group: int, method: str) -> UniformGrid:
    """Levels from the lowest to the highest weight; "mse" shrinks both ends together."""
    top = _upper_end(blocks, method).clamp(min=0)
    bottom = -_upper_end(-blocks, method).clamp(min=0)
    steps = 2**bits - 1
    best, scale, zero = (torch.full_like(top, torch.inf), torch.ones_like(top), torch.zeros_like(top))
    for factor in _SHRINK if method == "mse" else _SHRINK[:1]:
        width = (factor * (top - bottom) / steps).clamp(min=1e-12)
        start = (-factor * bottom / width).round().clamp(0, steps)
        low, high = -start[..., None], (steps - start)[..., None]
        rounded = torch.minimum(torch.maximum((blocks / width[..., None]).round(), low), high) * width[..., None]
        error = (rounded - blocks).square().sum(-1)
        better = error < best
        best, scale, zero = (torch.where(better, a, b) for a, b in ((error, best), (width, scale), (start, zero)))
    zero = zero.to(torch.int32)
    return UniformGrid(bits, scale if group else scale[:, 0], zero if group else zero[:, 0], group)


def _least_error(blocks: Tensor, scale: Tensor, low: int, high: int) -> tuple[Tensor, Tensor]:
    best, chosen = torch.full_like(scale, torch.inf), scale
    for factor in _SHRINK:
        trial = (scale * factor).clamp(min=1e-12).unsqueeze(-1)
        error = ((blocks / trial).round().clamp(low, high) * trial - blocks).square().sum(-1)
        chosen = torch.where(error < best, trial[..., 0], chosen)
        best = torch.minimum(error, best)
    return chosen, best


def _with_extra_level(blocks: Tensor, bits: int, group: int, scale: Tensor, error: Tensor) -> UniformGrid:
    """All ``2^bits`` levels: one more below or above zero, whichever rounds better."""
    half = 2 ** (bits - 1)
    top = blocks.abs().amax(-1) / (half - 1)
    below, below_error = _least_error(blocks, top, -half, half - 1)
    above, above_error = _least_error(blocks, top, -(half - 1), half)
    scale = torch.where(below_error < above_error, below, above)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    zero = torch.where(below_error < above_error, half, half - 1).to(torch.int32)
    return UniformGrid(bits, scale if group else scale[:, 0], zero if group else zero[:, 0], group)


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
