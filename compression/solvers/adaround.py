"""Learned rounding: each weight goes up or down, whichever serves the layer's output, all of them together."""

from collections.abc import Callable

import torch
from torch import Tensor

from compression.grids import dequantize, expand_scale, quantize_to_grid, symbol_range
from compression.solvers.gptq import grouped
from compression.solvers.grids import fit_with_feedback
from compression.state import UniformGrid

_ITERATIONS = 1000
_LEARNING_RATE = 0.05
_STRENGTH = 10.0
_WARM_UP = 0.2
_BETA = (20.0, 2.0)
_STRETCH = (1.2, -0.1)
_TICK_EVERY = 50
Tick = Callable[[float], None]


def _ignore(fraction: float) -> None:
    del fraction


def fit_with_adaround(
    weight: Tensor, grid: UniformGrid, hessian: Tensor, fixed: Tensor | None = None, tick: Tick = _ignore
) -> tuple[UniformGrid, Tensor]:
    """Round to the nearest value, with feedback, and as learned; keep of each output channel the best of the three.

    Args:
        weight: (C_out, ...).
        grid: Start; per tensor, channel or group.
        hessian: Damped, float64, (K, K) or (G, K, K).
        fixed: Boolean, True where a weight stays zero.
        tick: Called now and then with the fraction done; may raise to stop.

    Returns:
        The grid and the rounded weight; no channel has a larger output error than with the nearest values.
    """
    fitted, feedback = fit_with_feedback(weight, grid, hessian, fixed)
    learned = learn_rounding(weight, fitted, hessian, fixed, tick)
    nearest = dequantize(quantize_to_grid(weight, grid), grid)
    candidates = torch.stack([nearest, feedback, learned])
    errors = torch.stack([_channel_errors(c - weight, hessian) for c in candidates])
    best = errors.argmin(0)
    rounded = candidates[best, torch.arange(len(best))]
    if fitted is not grid:  # the scale of each channel was refitted
        fitted = UniformGrid(grid.bits, torch.where(best == 0, grid.scale, fitted.scale), grid.zero_point)
    return fitted, rounded


def learn_rounding(
    weight: Tensor, grid: UniformGrid, hessian: Tensor, fixed: Tensor | None = None, tick: Tick = _ignore
) -> Tensor:
    """AdaRound (Nagel et al., arXiv 2004.10568) on the layer's quadratic error ``tr(D H D^T)``; needs no data.

    Each weight is ``scale * (floor(w / scale) + h)`` with ``h`` a sigmoid stretched over [0, 1] and clipped. Adam
    lowers the error while a regularizer ``1 - |2h - 1|^beta`` drives every h to 0 or 1. The error of a channel is
    taken relative to that of rounding its weights to the nearest value, so that one strength serves all layers.

    Args and the returned weight: as for `fit_with_adaround`.
    """
    rows, batched = grouped(weight, hessian.float())
    scale, low, high = (_per_weight(t, weight, len(batched)) for t in _levels(grid, weight))
    ratio = rows / scale
    below = torch.minimum(torch.maximum(ratio.floor(), low), high)
    free = (below < high) & (ratio > low)
    if fixed is not None:
        free &= ~_per_weight(fixed, weight, len(batched))
    nearest = torch.minimum(torch.maximum(ratio.round(), low), high) * scale
    change = nearest - rows
    usual = ((change @ batched) * change).mean(-1, keepdim=True).clamp(min=1e-30)
    latent = torch.logit(((ratio - below).clamp(0.01, 0.99) - _STRETCH[1]) / _STRETCH[0])
    optimizer = torch.optim.Adam([latent], lr=_LEARNING_RATE)
    start, step = below * scale - rows, scale * free
    for iteration in range(_ITERATIONS):
        if iteration % _TICK_EVERY == 0:
            tick(iteration / _ITERATIONS)
        sigmoid = torch.sigmoid(latent)
        up = sigmoid * _STRETCH[0] + _STRETCH[1]
        moving = (up > 0) & (up < 1)
        up = up.clamp(0, 1)
        slope = 2 * ((start + step * up) @ batched) * step / usual + _pull(up, iteration / _ITERATIONS)
        latent.grad = slope * moving * _STRETCH[0] * sigmoid * (1 - sigmoid)
        optimizer.step()
    raised = (torch.sigmoid(latent) >= 0.5) & free
    symbols = (below + raised).flatten(0, 1).reshape(weight.shape)
    if fixed is not None:
        symbols = torch.where(fixed, 0.0, symbols)
    return symbols * expand_scale(grid.scale, weight.shape, grid.group_size)


def _pull(up: Tensor, progress: float) -> Tensor | float:
    """Gradient of the regularizer; its beta falls from 20 to 2 after a warm-up without it."""
    if progress < _WARM_UP:
        return 0.0
    beta = _BETA[0] + (_BETA[1] - _BETA[0]) * (progress - _WARM_UP) / (1 - _WARM_UP)
    side = 2 * up - 1
    return -2 * _STRENGTH * beta * side.abs().pow(beta - 1) * side.sign()


def _levels(grid: UniformGrid, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, lowest and highest whole number, broadcastable to the weight."""
    low, high = symbol_range(grid)
    zero = torch.zeros_like(grid.scale) if grid.zero_point is None else grid.zero_point.float()
    centered = expand_scale(zero, weight.shape, grid.group_size)
    return expand_scale(grid.scale, weight.shape, grid.group_size), low - centered, high - centered


def _per_weight(values: Tensor, weight: Tensor, groups: int) -> Tensor:
    return values.expand(weight.shape).flatten(1).unflatten(0, (groups, -1))


def _channel_errors(change: Tensor, hessian: Tensor) -> Tensor:
    rows, batched = grouped(change.double(), hessian)
    return ((rows @ batched) * rows).sum(-1).flatten()
