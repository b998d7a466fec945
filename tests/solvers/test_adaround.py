"""Learned rounding against every possible rounding, and against the two it must never be worse than."""

import itertools

import pytest
import torch
from torch import Tensor

from compression.core.errors import CancelledError
from compression.grids import dequantize, quantize_to_grid
from compression.solvers.adaround import fit_with_adaround, learn_rounding
from compression.solvers.grids import choose_grid, fit_with_feedback
from tests.solvers.problems import error, layer


def channel_errors(change: Tensor, hessian: Tensor) -> Tensor:
    """``d H d^T`` of each output channel, (C_out,)."""
    rows = change.double().unflatten(0, (len(hessian), -1))
    return torch.einsum("grj,gjk,grk->gr", rows, hessian, rows).flatten()


def best_of_all_roundings(weight: Tensor, scale: Tensor, hessian: Tensor) -> Tensor:
    """Least error of each row of (R, K) when every weight may go up or down, by trying all ``2^K``."""
    below = (weight / scale[:, None]).floor()
    choices = torch.tensor(list(itertools.product((0.0, 1.0), repeat=weight.shape[1])), dtype=weight.dtype)
    changes = (below[:, None] + choices) * scale[:, None, None] - weight[:, None]
    return torch.einsum("rcj,jk,rck->rc", changes, hessian, changes).amin(1)


def test_learned_rounding_comes_near_the_best_of_all() -> None:
    found: dict[str, list[Tensor]] = {"learned": [], "kept": [], "nearest": []}
    for seed in range(4):
        rows, hessian = layer(seed, outputs=4, inputs=9)
        weight = rows[0].float()
        grid = choose_grid(weight, 4, method="minmax")  # nothing is clipped
        wanted = best_of_all_roundings(weight.double(), grid.scale.double(), hessian[0])
        for name, values in (
            ("learned", learn_rounding(weight, grid, hessian)), ("kept", fit_with_adaround(weight, grid, hessian)[1]),
            ("nearest", dequantize(quantize_to_grid(weight, grid), grid)),
        ):
            found[name].append(channel_errors(values - weight, hessian) / wanted)
    learned, kept, nearest = (torch.cat(ratios) for ratios in found.values())
    assert learned.min() >= 1 - 1e-4
    assert learned.mean() < 0.5 * nearest.mean()
    assert (learned < 1.001).double().mean() >= 0.25
    assert kept.mean() < 1.25


@pytest.mark.parametrize("symmetry", ["symmetric", "affine"])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize(("bits", "groups"), [(2, 1), (3, 3), (4, 1)])
def test_no_channel_is_worse_than_with_the_nearest_values(
    bits: int, groups: int, granularity: str, symmetry: str
) -> None:
    rows, hessian = layer(bits, groups)
    weight = rows.flatten(0, 1).float()
    start = choose_grid(weight, bits, granularity, 8, symmetry=symmetry)
    grid, rounded = fit_with_adaround(weight, start, hessian)
    assert torch.equal(dequantize(quantize_to_grid(rounded, grid), grid), rounded)
    ours = channel_errors(rounded - weight, hessian)
    nearest = dequantize(quantize_to_grid(weight, start), start)
    _, feedback = fit_with_feedback(weight, start, hessian)
    for other in (nearest, feedback):
        assert (ours <= channel_errors(other - weight, hessian) * (1 + 1e-6)).all()


def test_learned_rounding_beats_feedback_on_the_whole() -> None:
    ours = theirs = 0.0
    for seed in range(4):
        rows, hessian = layer(seed, outputs=16)
        weight = rows[0].float()
        start = choose_grid(weight, 3)
        ours += error((fit_with_adaround(weight, start, hessian)[1] - weight)[None], hessian)
        theirs += error((fit_with_feedback(weight, start, hessian)[1] - weight)[None], hessian)
    assert ours < 0.95 * theirs


@pytest.mark.parametrize("symmetry", ["symmetric", "affine"])
def test_pruned_weights_stay_zero(symmetry: str) -> None:
    rows, hessian = layer(5, 2)
    weight = rows.flatten(0, 1).float()
    fixed = weight.abs() < 0.7
    weight[fixed] = 0
    start = choose_grid(weight, 3, symmetry=symmetry)
    assert not learn_rounding(weight, start, hessian, fixed)[fixed].any()
    _, rounded = fit_with_adaround(weight, start, hessian, fixed)
    assert not rounded[fixed].any()
    assert rounded[~fixed].any()


def test_it_is_deterministic_and_can_be_stopped() -> None:
    rows, hessian = layer(6)
    weight, seen = rows[0].float(), []
    grid = choose_grid(weight, 4)
    assert torch.equal(learn_rounding(weight, grid, hessian), learn_rounding(weight, grid, hessian, tick=seen.append))
    assert len(seen) > 5 and seen == sorted(seen) and 0 <= seen[0] < seen[-1] < 1

    def stop(fraction: float) -> None:
        if fraction > 0:
            raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        fit_with_adaround(weight, grid, hessian, tick=stop)
