"""Tucker-2 against NumPy and explicit kernels."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from compression.solvers.tucker import hooi, tucker2, tucker2_factors
from tests.solvers.problems import error, layer

OUT, IN, KERNEL = 6, 5, 4


def kernel(seed: int, correlated: bool = True) -> tuple[Tensor, Tensor | None]:
    """Kernel (C_out, C_in, K) and the damped Hessian (C_in K, C_in K) of its inputs."""
    weight, hessian = layer(seed, outputs=OUT, inputs=IN * KERNEL)
    return weight[0].unflatten(1, (IN, KERNEL)), hessian[0] if correlated else None


def rebuilt(factors: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    first, core, last = (part.double() for part in factors)
    return torch.einsum("po,oik,ic->pck", last, core, first)


def lost(weight: Tensor, factors: tuple[Tensor, Tensor, Tensor], hessian: Tensor | None) -> float:
    """Explicit squared error of the output."""
    change = (rebuilt(factors) - weight).flatten(1)
    return error(change[None], (torch.eye(IN * KERNEL, dtype=torch.float64) if hessian is None else hessian)[None])


def left_vectors(tensor: np.ndarray, mode: int, rank: int) -> np.ndarray:
    return np.linalg.svd(np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1))[0][:, :rank]


def numpy_hooi(tensor: np.ndarray, rank_out: int, rank_in: int, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    outer, inner = left_vectors(tensor, 0, rank_out), left_vectors(tensor, 1, rank_in)
    for _ in range(iterations):
        outer = left_vectors(np.tensordot(tensor, inner, (1, 0)).swapaxes(1, 2), 0, rank_out)
        inner = left_vectors(np.tensordot(outer, tensor, (0, 0)), 1, rank_in)
    return outer, inner


def projection_error(tensor: Tensor, outer: Tensor, inner: Tensor) -> float:
    kept = torch.einsum("ock,op,cr->prk", tensor, outer, inner)
    return float(tensor.square().sum() - kept.square().sum())


@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_orthogonal_iteration_is_that_of_numpy(iterations: int) -> None:
    tensor = kernel(0)[0]
    found = hooi(tensor, 3, 2, iterations)
    for ours, wanted in zip(found, numpy_hooi(tensor.numpy(), 3, 2, iterations), strict=True):
        torch.testing.assert_close(ours.t() @ ours, torch.eye(ours.shape[1], dtype=torch.float64))
        np.testing.assert_allclose((ours @ ours.t()).numpy(), wanted @ wanted.T, atol=1e-9)


def test_orthogonal_iteration_never_loses_more_than_the_truncated_hosvd() -> None:
    gains = []
    for seed in range(20):
        tensor = kernel(seed)[0]
        errors = [projection_error(tensor, *hooi(tensor, 3, 2, n)) for n in range(5)]
        assert all(later <= earlier + 1e-9 for earlier, later in pairwise(errors))
        gains.append(errors[0] - errors[-1])
    assert max(gains) > 0.01 * float(kernel(0)[0].square().sum()), "it would not iterate at all"


@pytest.mark.parametrize("correlated", [True, False])
def test_full_ranks_give_the_kernel_back(correlated: bool) -> None:
    weight, hessian = kernel(1, correlated)
    for factors in (tucker2(weight, hessian).factors(IN, OUT), tucker2_factors(weight, hessian, IN, OUT)):
        assert [tuple(part.shape) for part in factors] == [(IN, IN), (OUT, IN, KERNEL), (OUT, OUT)]
        torch.testing.assert_close(rebuilt(factors), weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("correlated", [True, False])
def test_kept_energies_are_those_of_the_explicit_kernels(correlated: bool) -> None:
    weight, hessian = kernel(2, correlated)
    tucker = tucker2(weight, hessian)
    whole = float(tucker.energies(IN)[-1])
    nothing = (torch.zeros(1, IN), torch.zeros(1, 1, KERNEL), torch.zeros(OUT, 1))
    assert lost(weight, nothing, hessian) == pytest.approx(whole)
    for rank_in, rank_out in np.ndindex(IN, OUT):
        explicit = lost(weight, tucker.factors(rank_in + 1, rank_out + 1), hessian)
        kept = float(tucker.energies(rank_in + 1)[rank_out])
        assert whole - kept == pytest.approx(explicit, rel=1e-4, abs=1e-6 * whole)


def test_core_and_outputs_are_the_best_for_the_input_subspace() -> None:
    weight, hessian = kernel(3)
    assert hessian is not None
    factors = tucker2(weight, hessian).factors(3, 2)
    root = np.linalg.cholesky(hessian.numpy())
    design = np.kron(factors[0].double().numpy(), np.eye(KERNEL)) @ root
    target = weight.flatten(1).numpy() @ root
    fitted = target @ np.linalg.pinv(design) @ design
    values = np.linalg.svd(fitted, compute_uv=False)
    best = float(((target - fitted) ** 2).sum() + (values[2:] ** 2).sum())
    assert lost(weight, factors, hessian) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("ranks", [(1, 1), (2, 3), (4, 2), (3, 5)])
def test_factors_for_one_pair_of_ranks_are_no_worse_than_those_for_all(ranks: tuple[int, int]) -> None:
    for seed in range(5):
        weight, hessian = kernel(seed)
        ours = lost(weight, tucker2_factors(weight, hessian, *ranks), hessian)
        assert ours <= lost(weight, tucker2(weight, hessian).factors(*ranks), hessian) * (1 + 1e-5)


def test_whitening_pays_at_the_output() -> None:
    weight, hessian = kernel(4)
    plain = lost(weight, tucker2_factors(weight, None, 2, 3), hessian)
    assert lost(weight, tucker2_factors(weight, hessian, 2, 3), hessian) < 0.95 * plain


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e12])
def test_kernels_without_or_of_strange_size_stay_finite(scale: float) -> None:
    weight, hessian = kernel(5)
    factors = tucker2_factors(weight * scale, hessian, 2, 3)
    assert all(torch.isfinite(part).all() for part in factors)
    assert float((rebuilt(factors) - scale * weight).norm()) <= float((scale * weight).norm()) * 1.5
