"""Factors and inverses block by block are LAPACK's, and can be stopped between two blocks."""

import pytest
import torch

from compression.solvers import blocked


@pytest.mark.parametrize("size", [40, 64, 90])
def test_blocks_give_what_lapack_does(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked, "_BLOCK", 16)
    torch.manual_seed(0)
    rows, seen = torch.randn(30, size, dtype=torch.float64), list[float]()
    matrix = rows.t() @ rows + 0.1 * torch.eye(size, dtype=torch.float64)
    lower = blocked.cholesky(matrix, seen.append)
    inverse = blocked.cholesky_inverse(lower, seen.append)
    torch.testing.assert_close(lower, torch.linalg.cholesky(matrix))
    torch.testing.assert_close(inverse @ matrix, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-9)
    blocks = -(-size // 16)
    assert len(seen) == 3 * blocks and seen[blocks - 1] == seen[-1] == 1.0
    assert seen[:blocks] == sorted(seen[:blocks]) and seen[blocks:] == sorted(seen[blocks:])


def test_a_cancel_is_taken_between_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked, "_BLOCK", 16)

    def stop(fraction: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        blocked.cholesky(torch.eye(64), stop)
    with pytest.raises(InterruptedError):
        blocked.cholesky_inverse(torch.eye(64), stop)


def test_a_matrix_that_is_not_positive_definite_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked, "_BLOCK", 16)
    matrix = torch.eye(64)
    matrix[50, 50] = -1.0
    with pytest.raises(torch.linalg.LinAlgError):
        blocked.cholesky(matrix)
