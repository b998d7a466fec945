"""Solvers with a closed form against NumPy and brute force."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from compression.grids import dequantize, quantize_to_grid
from compression.solvers.codebooks import refit_entries
from compression.solvers.grids import choose_grid
from compression.solvers.kmeans import weighted_kmeans
from compression.solvers.lowrank import allocate_ranks, factors, whitened_svd
from compression.solvers.reconstruction import output_error, reconstruct_inputs
from tests.solvers.problems import error, layer


def k_means_error(values: Tensor, mass: Tensor, entries: Tensor) -> float:
    return float((mass * (values[:, None] - entries).square().min(1).values).sum())


def best_partition(values: Tensor, mass: Tensor, clusters: int) -> float:
    """Least weighted squared distance over all splits of the sorted values into neighbouring runs."""
    order = torch.argsort(values)
    values, mass = values[order], mass[order]
    best = np.inf
    for cuts in combinations(range(1, len(values)), clusters - 1):
        total = 0.0
        for part in np.split(np.arange(len(values)), cuts):
            mean = (mass[part] * values[part]).sum() / mass[part].sum()
            total += float((mass[part] * (values[part] - mean).square()).sum())
        best = min(best, total)
    return best


def test_reconstruction_equals_least_squares() -> None:
    weight, hessian = layer(0)
    keep = torch.tensor([0, 3, 4, 9, 17, 23])
    found = reconstruct_inputs(weight[0], hessian[0], keep)
    root = np.linalg.cholesky(hessian[0].numpy()).T
    wanted = np.linalg.lstsq(root[:, keep.numpy()], root @ weight[0].numpy().T, rcond=None)[0].T
    np.testing.assert_allclose(found.numpy(), wanted)
    assert reconstruct_inputs(weight[0].float(), hessian[0], keep).dtype == torch.float32
    everything = torch.arange(weight.shape[-1])
    torch.testing.assert_close(reconstruct_inputs(weight[0], hessian[0], everything), weight[0])


def test_output_error_is_that_of_explicit_inputs() -> None:
    x = torch.randn(7, 200, dtype=torch.float64)
    change = torch.randn(4, 7)
    wanted = (change.double() @ x).square().mean(1) * 2
    torch.testing.assert_close(output_error(change, 2 / 200 * x @ x.t()), wanted)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_whitened_svd_loses_exactly_the_dropped_values(rank: int) -> None:
    weight, hessian = layer(1)
    svd = whitened_svd(weight[0], hessian[0])
    left, values, right = svd
    torch.testing.assert_close(left * values @ right, weight[0])
    first, second = factors(svd, rank)
    assert (first.shape, second.shape) == ((rank, 24), (6, rank))
    change = (second @ first).double() - weight[0]
    dropped = float(values[rank:].square().sum())
    assert error(change[None], hessian) == pytest.approx(dropped, rel=1e-4, abs=1e-6 * float(values.square().sum()))


def test_whitened_svd_beats_the_plain_one_at_the_output_and_loses_at_the_weights() -> None:
    weight, hessian = layer(2)
    changes = []
    for used in (hessian[0], None):
        first, second = factors(whitened_svd(weight[0], used), 3)
        changes.append((second @ first).double() - weight[0])
    assert error(changes[0][None], hessian) < 0.95 * error(changes[1][None], hessian)
    assert changes[0].norm() > changes[1].norm()


def test_ranks_are_the_best_choice_within_the_budget() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        costs = [np.sort(generator.integers(1, 60, 4)).astype(float) for _ in range(3)]
        errors = [np.sort(generator.random(4))[::-1] for _ in costs]
        budget = float(generator.integers(40, 150))
        picked = allocate_ranks(errors, costs, budget, bins=int(budget))  # one bin per weight: nothing is rounded
        options = [o for o in np.ndindex(4, 4, 4) if sum(c[i] for c, i in zip(costs, o, strict=True)) <= budget]
        if not options:
            assert picked == [0, 0, 0]
            continue
        assert tuple(picked) in options
        best = min(sum(e[i] for e, i in zip(errors, o, strict=True)) for o in options)
        assert sum(e[i] for e, i in zip(errors, picked, strict=True)) == pytest.approx(best)


@pytest.mark.parametrize("clusters", [2, 3, 4])
def test_k_means_finds_separated_clusters_optimally(clusters: int) -> None:
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        centres = torch.arange(clusters, dtype=torch.float64) * 2
        values = (centres[:, None] + 0.2 * torch.randn(clusters, 4, generator=generator)).flatten()
        mass = torch.rand(len(values), generator=generator).double() + 0.1
        shuffled = torch.randperm(len(values), generator=generator)
        entries = weighted_kmeans(values[shuffled], mass[shuffled], clusters)
        best = best_partition(values, mass, clusters)
        assert k_means_error(values, mass, entries) == pytest.approx(best, rel=1e-4)


def test_k_means_finds_the_best_of_all_partitions() -> None:
    ratios = []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(11, generator=generator).double()
        mass = torch.rand(11, generator=generator).double() + 0.1
        entries = weighted_kmeans(values, mass, 3)
        nearest = (values[:, None] - entries).abs().argmin(1)
        for i in nearest.unique():
            own = nearest == i
            torch.testing.assert_close(entries[i], (mass * values)[own].sum() / mass[own].sum(), rtol=1e-5, atol=1e-5)
        ratios.append(k_means_error(values, mass, entries) / best_partition(values, mass, 3))
    assert min(ratios) > 1 - 1e-6, "the reference would not be optimal"
    assert max(ratios) < 1 + 1e-5


def test_k_means_keeps_an_exact_zero_and_ignores_duplicates() -> None:
    values = torch.tensor([-2.0, -1.9, 0.1, 0.2, 1.0, 1.1])
    entries = weighted_kmeans(values, torch.ones(6), 3, zero=True)
    torch.testing.assert_close(entries, torch.tensor([-1.95, 0.0, 1.05]).double())
    same = weighted_kmeans(torch.full((9,), 0.3), torch.ones(9), 4)
    torch.testing.assert_close(same, torch.tensor([0.3]).double())


@pytest.mark.parametrize("keep_zero", [None, 2])
@pytest.mark.parametrize("groups", [1, 3])
def test_refitted_entries_solve_the_least_squares_problem(groups: int, keep_zero: int | None) -> None:
    rows, hessian = layer(3, groups, outputs=2, inputs=8)
    indices = torch.randint(0, 4, (groups * 2, 8), generator=torch.Generator().manual_seed(0))
    indices[0, :4] = torch.arange(4)
    found = refit_entries(rows.flatten(0, 1), indices, 5, hessian, keep_zero)
    design, target = [], []
    for row in range(groups * 2):
        root = np.linalg.cholesky(hessian[row // 2].numpy()).T
        design.append(root @ np.eye(5)[indices[row].numpy()])
        target.append(root @ rows.flatten(0, 1)[row].numpy())
    free = [i for i in range(4) if i != keep_zero]  # entry 4 is not used
    wanted = np.zeros(5)
    wanted[free] = np.linalg.lstsq(np.concatenate(design)[:, free], np.concatenate(target), rcond=None)[0]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("symmetry", ["symmetric", "affine"])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_grid_of_least_error_is_no_worse_than_that_of_the_largest_weight(
    bits: int, granularity: str, symmetry: str
) -> None:
    losses = []
    for seed in range(5):
        weight = torch.randn(6, 4, 4, generator=torch.Generator().manual_seed(seed)) ** 3
        both = []
        for method in ("mse", "minmax"):
            grid = choose_grid(weight, bits, granularity, 8, method, symmetry)
            assert grid.scale.shape == {"tensor": (1,), "channel": (6,), "group": (6, 2)}[granularity]
            both.append(float((dequantize(quantize_to_grid(weight, grid), grid) - weight).square().sum()))
        assert both[0] <= both[1] * (1 + 1e-6)
        losses.append(both)
    assert bits == 8 or min(mse / minmax for mse, minmax in losses) < 0.97


@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_affine_grid_spans_the_weights_and_holds_zero(bits: int, granularity: str) -> None:
    weight = torch.rand(6, 4, 4, generator=torch.Generator().manual_seed(0)) * 3 - 0.7
    weight[:, 0, 0] = 0.0
    grid = choose_grid(weight, bits, granularity, 8, "minmax", symmetry="affine")
    rounded = dequantize(quantize_to_grid(weight, grid), grid)
    assert (rounded[:, 0, 0] == 0).all()
    steps = grid.scale.reshape(grid.scale.shape[0], -1).amax()
    assert float((rounded - weight).abs().max()) <= 1.01 * float(steps)  # zero on the grid moves an end by half a step
    symmetric = choose_grid(weight, bits, granularity, 8, "minmax")
    plain = dequantize(quantize_to_grid(weight, symmetric), symmetric)
    assert (rounded - weight).square().sum() < (plain - weight).square().sum()


def test_percentile_cuts_off_what_lies_far_out() -> None:
    weight = torch.linspace(-1, 1, 2001).repeat(2, 1)
    weight[0, 0] = -50.0
    grid = choose_grid(weight, 4, "channel", method="percentile")
    assert grid.scale.tolist() == pytest.approx([0.999 / 7, 0.999 / 7], rel=1e-2)
    affine = choose_grid(weight, 4, "channel", method="percentile", symmetry="affine")
    assert affine.scale.tolist() == pytest.approx([2 * 0.999 / 15, 2 * 0.999 / 15], rel=2e-2)
