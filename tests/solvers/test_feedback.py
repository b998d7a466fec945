"""Rounding and pruning with feedback against plain references and against doing without."""

import numpy as np
import pytest
import torch
from torch import Tensor

from compression.grids import dequantize, quantize_to_grid
from compression.solvers.codebooks import assign_with_feedback
from compression.solvers.gptq import BLOCK, round_with_feedback
from compression.solvers.grids import choose_grid, fit_with_feedback
from compression.solvers.sparsegpt import prune_with_feedback, refit_kept
from tests.solvers.problems import error, layer, obs_prune, obs_round

SEEDS = range(5)
GROUPS = (1, 3)
STEP = 0.4


def round_to_step(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Multiples of `STEP` for every column."""
    del index
    return np.rint(values / STEP) * STEP


def lowest(scores: Tensor, count: int) -> Tensor:
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    mask[scores.flatten().argsort()[:count]] = True
    return mask.reshape(scores.shape)


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_rounding_is_no_worse_than_nearest_and_on_the_grid(seed: int, groups: int) -> None:
    weight, hessian = layer(seed, groups)
    rounded = round_with_feedback(weight, hessian, round_to_step)
    torch.testing.assert_close(rounded / STEP, (rounded / STEP).round())
    nearest = (weight / STEP).round() * STEP
    assert error(rounded - weight, hessian) < error(nearest - weight, hessian)


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("inputs", [24, BLOCK + 7])
def test_rounding_equals_the_textbook(inputs: int, groups: int) -> None:
    weight, hessian = layer(11, groups, inputs=inputs)
    rounded = round_with_feedback(weight, hessian, round_to_step)
    for group in range(groups):
        plain = obs_round(weight[group], hessian[group], lambda w: (w / STEP).round() * STEP, None)
        torch.testing.assert_close(rounded[group], plain)


@pytest.mark.parametrize("groups", GROUPS)
def test_pruned_weights_stay_zero_and_their_loss_is_made_up_for(groups: int) -> None:
    weight, hessian = layer(3, groups)
    fixed = weight.abs() < 0.6
    rounded = round_with_feedback(weight, hessian, round_to_step, fixed)
    assert not rounded[fixed].any()
    assert rounded[~fixed].any()
    for group in range(groups):
        plain = obs_round(weight[group], hessian[group], lambda w: (w / STEP).round() * STEP, fixed[group])
        torch.testing.assert_close(rounded[group], plain)
    alone = torch.where(fixed, 0.0, (weight / STEP).round() * STEP)
    assert error(rounded - weight, hessian) < error(alone - weight, hessian)


def test_columns_are_rounded_with_their_own_index() -> None:
    weight, hessian = layer(4, 2)
    steps = np.linspace(0.1, 0.9, weight.shape[-1])
    rounded = round_with_feedback(weight, hessian, lambda v, i: np.rint(v / steps[i, None]) * steps[i, None])
    symbols = rounded / torch.from_numpy(steps)
    torch.testing.assert_close(symbols, symbols.round())


@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("groups", GROUPS)
def test_fitted_grid_beats_nearest_rounding(groups: int, bits: int, granularity: str) -> None:
    for seed in SEEDS:
        rows, hessian = layer(seed, groups)
        weight = rows.flatten(0, 1).float()
        start = choose_grid(weight, bits, granularity, 8)
        grid, rounded = fit_with_feedback(weight, start, hessian)
        assert torch.allclose(dequantize(quantize_to_grid(rounded, grid), grid), rounded, atol=1e-6)
        nearest = dequantize(quantize_to_grid(weight, start), start)
        ours = error((rounded - weight).unflatten(0, (groups, -1)), hessian)
        assert ours < error((nearest - weight).unflatten(0, (groups, -1)), hessian)


def test_fitted_grid_keeps_pruned_weights_at_zero() -> None:
    rows, hessian = layer(5, 2)
    weight = rows.flatten(0, 1).float()
    fixed = weight.abs() < 0.7
    for bits in (2, 4):
        _, rounded = fit_with_feedback(weight, choose_grid(weight, bits), hessian, fixed)
        assert not rounded[fixed].any()


@pytest.mark.parametrize("groups", GROUPS)
def test_codebook_assignment_equals_the_textbook(groups: int) -> None:
    rows, hessian = layer(6, groups)
    weight, entries = rows.flatten(0, 1), torch.tensor([-1.5, -0.4, 0.0, 0.7, 1.9], dtype=torch.float64)
    scale = torch.linspace(0.5, 1.5, len(weight), dtype=torch.float64)
    found = entries[assign_with_feedback(weight, entries, hessian, scale=scale)] * scale[:, None]
    per_group = scale.unflatten(0, (groups, -1))
    for group in range(groups):

        def nearest(values: Tensor, own: Tensor = per_group[group]) -> Tensor:
            return entries[(values[:, None] / own[:, None] - entries).abs().argmin(1)] * own

        plain = obs_round(rows[group], hessian[group], nearest, None)
        torch.testing.assert_close(found.unflatten(0, (groups, -1))[group], plain)


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("seed", SEEDS)
def test_pruning_is_no_worse_than_by_size(seed: int, groups: int) -> None:
    weight, hessian = layer(seed, groups)
    pruned = prune_with_feedback(weight, hessian, 0.6)
    count = round(0.6 * weight.numel())
    assert int((pruned == 0).sum()) == count
    by_size = torch.where(lowest(weight.abs(), count), 0.0, weight)
    ours = error(pruned - weight, hessian)
    assert ours < error(by_size - weight, hessian)
    assert error(refit_kept(weight, hessian, pruned != 0) - weight, hessian) <= ours * (1 + 1e-9)


@pytest.mark.parametrize("inputs", [24, BLOCK + 16])
def test_pruning_equals_the_textbook(inputs: int) -> None:
    weight, hessian = layer(7, inputs=inputs)
    seen = removed = 0

    def remove(block: Tensor, costs: Tensor) -> Tensor:
        nonlocal seen, removed
        seen += block.numel()
        mask = lowest(costs, round(0.5 * seen) - removed)
        removed += int(mask.sum())
        return mask

    plain = obs_prune(weight[0], hessian[0], remove, BLOCK)
    torch.testing.assert_close(prune_with_feedback(weight, hessian, 0.5)[0], plain)


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize(("keep", "of"), [(2, 4), (4, 8)])
def test_pattern_holds_in_every_block_and_equals_the_textbook(keep: int, of: int, groups: int) -> None:
    weight, hessian = layer(8, groups)
    pruned = prune_with_feedback(weight, hessian, 0.0, (keep, of))
    assert ((pruned != 0).unflatten(-1, (-1, of)).sum(-1) == keep).all()

    def remove(block: Tensor, costs: Tensor) -> Tensor:
        return torch.stack([lowest(row, block.shape[1] - keep) for row in costs])

    for group in range(groups):
        torch.testing.assert_close(pruned[group], obs_prune(weight[group], hessian[group], remove, of))


@pytest.mark.parametrize("threshold", [0.1, 0.5, 1.2])
@pytest.mark.parametrize("groups", GROUPS)
def test_refit_equals_least_squares(groups: int, threshold: float) -> None:
    weight, hessian = layer(9, groups, outputs=3, inputs=10)
    mask = weight.abs() > threshold
    mask[0, 0] = False
    refitted = refit_kept(weight, hessian, mask).numpy()
    for group, row in np.ndindex(groups, 3):
        kept = mask[group, row].numpy()
        root = np.linalg.cholesky(hessian[group].numpy()).T  # |root d|^2 is the output error of d
        wanted = np.linalg.lstsq(root[:, kept], root @ weight[group, row].numpy(), rcond=None)[0]
        np.testing.assert_allclose(refitted[group, row, kept], wanted)
        assert not refitted[group, row, ~kept].any()


@pytest.mark.parametrize("shape", [(1, 8, 20), (6, 1, 9), (1, 1, 30)])
def test_solvers_leave_their_input_as_it_is(shape: tuple[int, int, int]) -> None:
    """With one output per group a transposed weight lies in memory as the weight does, and could be overwritten."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    hessian = torch.eye(shape[2], dtype=torch.float64).expand(shape[0], -1, -1).contiguous()
    before = weight.clone()
    pruned = prune_with_feedback(weight, hessian, 0.5)
    assert torch.equal(weight, before) and not torch.equal(pruned, before)
    round_with_feedback(weight, hessian, round_to_step)
    refit_kept(weight, hessian, pruned != 0)
    assert torch.equal(weight, before)
