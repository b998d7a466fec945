"""Removal of units against explicit least squares, and budgets against enumeration."""

import itertools

import pytest
import torch
from torch import Tensor

from compression.solvers.allocation import spread_budget
from compression.solvers.reconstruction import output_error, reconstruct_inputs
from compression.solvers.removal import removal_order
from tests.solvers.problems import layer


def refitted_error(weight: Tensor, hessian: Tensor, keep: list[int], size: int) -> float:
    """Output error of the least-squares weights on some units' inputs."""
    inputs = torch.tensor([unit * size + i for unit in keep for i in range(size)])
    change = -weight.clone()
    change[:, inputs] += reconstruct_inputs(weight, hessian, inputs)
    return float(output_error(change, hessian).sum())


@pytest.mark.parametrize("size", [1, 3])
def test_each_step_takes_the_unit_that_least_squares_misses_least(size: int) -> None:
    weight, hessian = layer(0, 1, outputs=5, inputs=6 * size)
    rows, h = weight[0].double(), hessian[0]
    found = removal_order([rows], [h], 6)
    energy, kept = float(output_error(rows, h).sum()), list(range(6))
    for unit, error in zip(found.order, found.errors, strict=True):
        errors = {u: refitted_error(rows, h, [k for k in kept if k != u], size) for u in kept}
        assert unit == min(errors, key=errors.__getitem__)
        assert error == pytest.approx(errors[unit] / energy, rel=1e-6)
        kept.remove(unit)
    assert len(kept) == 1


def test_several_readers_are_summed_up() -> None:
    first, second = layer(1, 1, outputs=4, inputs=8), layer(2, 1, outputs=3, inputs=8)
    weights = [first[0][0].double(), second[0][0].double()]
    found = removal_order(weights, [first[1][0], second[1][0]], 8)
    energy = sum(float(output_error(w, h[1][0]).sum()) for w, h in zip(weights, (first, second), strict=True))
    kept = [u for u in range(8) if u not in found.order[:3]]
    errors = [refitted_error(w, h[1][0], kept, 1) for w, h in zip(weights, (first, second), strict=True)]
    assert found.errors[2] == pytest.approx(sum(errors) / energy, rel=1e-6)


def test_errors_are_those_of_least_squares_where_several_units_go_at_a_time() -> None:
    weight, hessian = layer(3, 1, outputs=5, inputs=600)
    rows, h, seen = weight[0].double(), hessian[0], []
    found = removal_order([rows], [h], 300, seen.append)
    assert sorted(set(found.order)) == sorted(found.order) and len(found.order) == 299
    energy = float(output_error(rows, h).sum())
    for count in (1, 2, 7, 150, 298):
        kept = [unit for unit in range(300) if unit not in found.order[:count]]
        assert found.errors[count - 1] == pytest.approx(refitted_error(rows, h, kept, 2) / energy, rel=1e-6)
    assert seen == sorted(seen) and len(seen) > 100


def test_a_budget_is_spread_as_enumeration_finds() -> None:
    generator = torch.Generator().manual_seed(0)
    fractions = [0.0, 0.25, 0.5, 0.75, 1.0]
    for _ in range(20):
        curves = []
        for _ in range(3):
            steps = torch.rand(4, generator=generator).sort().values.cumsum(0)  # convex
            curves.append(list(zip(fractions, [0.0, *steps.tolist()], strict=True)))
        sizes = [4.0, 8.0, 4.0]
        found = spread_budget(curves, sizes, 0.5)
        assert sum(f * s for f, s in zip(found, sizes, strict=True)) == pytest.approx(8.0)
        own = sum(_at(curve, f) for curve, f in zip(curves, found, strict=True))
        best = min(
            sum(_at(curve, f) for curve, f in zip(curves, choice, strict=True))
            for choice in itertools.product([i / 8 for i in range(9)], repeat=3)
            if sum(f * s for f, s in zip(choice, sizes, strict=True)) >= 8.0
        )
        assert own <= best + 1e-9


def _at(curve: list[tuple[float, float]], fraction: float) -> float:
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if fraction <= x1 + 1e-12:
            return y0 + (y1 - y0) * (fraction - x0) / (x1 - x0)
    return curve[-1][1]


def test_a_curve_that_is_not_convex_counts_as_its_hull() -> None:
    bump = [(0.0, 0.0), (0.5, 1.0), (1.0, 1.2)]
    straight = [(0.0, 0.0), (0.5, 0.7), (1.0, 1.4)]
    assert spread_budget([bump, straight], [1.0, 1.0], 0.5) == pytest.approx([1.0, 0.0])
