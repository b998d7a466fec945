"""Tucker-2: exact where nothing is left out, and as good as its definition where something is."""

import numpy as np
import pytest
import torch
from torch import Tensor

from compression.solvers.tucker import rank_path, tucker_basis, tucker_factors, tucker_weight


def kernel(seed: int, outputs: int = 6, inputs: int = 5) -> Tensor:
    return torch.randn(outputs, inputs, 3, 3, generator=torch.Generator().manual_seed(seed)) ** 3


def hessian(seed: int, channels: int = 5) -> Tensor:
    size = channels * 9
    x = torch.randn(size, 4 * size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x * torch.logspace(-1, 1, channels, dtype=torch.float64).repeat_interleave(9)[:, None]
    return x @ x.t() / x.shape[1]


def truncated(weight: np.ndarray, inner: int, outer: int) -> np.ndarray:
    """Truncated higher-order SVD, written out."""
    left = np.linalg.svd(weight.reshape(len(weight), -1))[0][:, :outer]
    right = np.linalg.svd(weight.transpose(1, 0, 2, 3).reshape(weight.shape[1], -1))[0][:, :inner]
    return np.einsum("oihw,op,qp,ij,kj->qkhw", weight, left, left, right, right)


@pytest.mark.parametrize("whitened", [False, True])
def test_full_ranks_are_exact(whitened: bool) -> None:
    weight = kernel(0)
    basis = tucker_basis(weight, hessian(0) if whitened else None)
    torch.testing.assert_close(tucker_weight(*tucker_factors(basis, 5, 6)), weight, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("inner", "outer"), [(1, 1), (2, 5), (4, 3)])
def test_without_refinement_it_is_the_truncated_svd_and_refinement_only_helps(inner: int, outer: int) -> None:
    for seed in range(5):
        weight = kernel(seed)
        basis = tucker_basis(weight, None)
        plain = tucker_weight(*tucker_factors(basis, inner, outer, 0))
        wanted = truncated(weight.double().numpy(), inner, outer)
        np.testing.assert_allclose(plain.numpy(), wanted, rtol=1e-3, atol=1e-3)
        refined = tucker_weight(*tucker_factors(basis, inner, outer))
        assert (refined - weight).norm() <= (plain - weight).norm() * (1 + 1e-6)


def test_refinement_reaches_a_better_point_somewhere() -> None:
    gains = []
    for seed in range(5):
        weight = kernel(seed)
        basis = tucker_basis(weight, None)
        errors = [float((tucker_weight(*tucker_factors(basis, 2, 2, n)) - weight).norm()) for n in (0, 3)]
        gains.append(errors[0] / errors[1])
    assert max(gains) > 1.005


def test_whitening_lowers_the_output_error() -> None:
    ratios = []
    for seed in range(5):
        weight, h = kernel(seed), hessian(seed)
        errors = []
        for given in (h, None):
            change = (tucker_weight(*tucker_factors(tucker_basis(weight, given), 2, 3)) - weight).flatten(1).double()
            errors.append(float(((change @ h) * change).sum()))
        ratios.append(errors[0] / errors[1])
    assert max(ratios) < 1


def test_the_path_leads_from_few_ranks_to_many() -> None:
    weight = kernel(0, 32, 24)
    path = rank_path(tucker_basis(weight, None), 24, 4)
    assert path == sorted(path) and len(path) == len(set(path)) > 3
    assert all(inner % 4 == 0 and outer % 4 == 0 and inner <= 24 and outer <= 32 for inner, outer in path)
