"""Ranges of weight grids against their definitions."""

import math

import pytest
import torch
from torch import Tensor

from compression.grids import dequantize, expand_scale, quantize_to_grid, symbol_range
from compression.solvers.grids import choose_grid
from compression.state import UniformGrid

BITS = range(2, 9)


def skewed(seed: int = 0) -> Tensor:
    """Weights (8, 64) that reach further on one side of zero than on the other."""
    generator = torch.Generator().manual_seed(seed)
    side = torch.tensor([1.0, -1.0]).repeat(4)[:, None]
    return side * (torch.randn(8, 64, generator=generator).exp() - 0.6)


def rounded(weight: Tensor, grid: UniformGrid) -> Tensor:
    return dequantize(quantize_to_grid(weight, grid), grid)


@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("bits", BITS)
def test_affine_range_holds_every_weight_and_zero_exactly(bits: int, granularity: str) -> None:
    weight = skewed()
    grid = choose_grid(weight, bits, granularity, 16, "minmax", "affine")
    assert grid.zero_point is not None and grid.zero_point.shape == grid.scale.shape
    assert symbol_range(grid) == (0, 2**bits - 1)
    assert int(grid.zero_point.min()) >= 0 and int(grid.zero_point.max()) < 2**bits
    assert not rounded(torch.zeros_like(weight), grid).any()
    scale = expand_scale(grid.scale, weight.shape, grid.group_size)
    # The zero point is rounded too, so that one end may be half a step off.
    assert ((rounded(weight, grid) - weight).abs() <= 1.01 * scale).all()


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("bits", BITS)
def test_affine_grids_round_skewed_weights_better(bits: int, method: str) -> None:
    weight = skewed()
    errors = {
        symmetry: float((rounded(weight, choose_grid(weight, bits, method=method, symmetry=symmetry)) - weight)
                        .square().sum())
        for symmetry in ("symmetric", "affine")
    }
    assert errors["affine"] < errors["symmetric"]


@pytest.mark.parametrize("symmetry", ["symmetric", "affine"])
@pytest.mark.parametrize("bits", BITS)
def test_least_squares_range_is_no_worse_than_the_others(bits: int, symmetry: str) -> None:
    weight = skewed(1)
    errors = {
        method: (rounded(weight, choose_grid(weight, bits, method=method, symmetry=symmetry)) - weight).square().sum(1)
        for method in ("minmax", "percentile", "mse")
    }
    assert (errors["mse"] <= errors["minmax"] * (1 + 1e-5)).all()
    assert errors["mse"].sum() <= errors["percentile"].sum()


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_percentile_range_ends_at_the_weight_that_99_percent_stay_below(granularity: str) -> None:
    weight = torch.randn(4, 300, generator=torch.Generator().manual_seed(0))
    weight[1, 7] = 50.0
    grid = choose_grid(weight, 5, granularity, method="percentile")
    sizes = weight.abs().reshape(1, -1) if granularity == "tensor" else weight.abs()
    wanted = sizes.sort(1).values[:, math.ceil(0.99 * sizes.shape[1]) - 1] / 15
    torch.testing.assert_close(grid.scale, wanted)


@pytest.mark.parametrize("symmetry", ["symmetric", "affine"])
@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_channels_of_zeros_and_of_one_sign_have_a_grid(bits: int, method: str, symmetry: str) -> None:
    weight = torch.stack([torch.zeros(20), torch.linspace(0.1, 2, 20), -torch.linspace(0.1, 2, 20)])
    grid = choose_grid(weight, bits, method=method, symmetry=symmetry)
    assert torch.isfinite(grid.scale).all() and (grid.scale > 0).all()
    found = rounded(weight, grid)
    assert not found[0].any()
    assert (found - weight).abs().max() < 2 / 2 ** (bits - 2)
