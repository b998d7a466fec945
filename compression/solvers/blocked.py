"""Cholesky factors and inverses of large matrices, block by block, so that progress is seen and a cancel is taken.

One LAPACK call on 4,608 inputs takes seconds, on a busy processor tens of them, and cannot be interrupted. The blocks
do the same work in the same number of operations, nearly all of it in matrix products.
"""

from collections.abc import Callable

import torch
from torch import Tensor

_BLOCK = 256
Watch = Callable[[float], None]


def unwatched(fraction: float) -> None:
    """What is done with progress that nobody looks at."""
    del fraction


def cholesky(matrix: Tensor, watch: Watch = unwatched) -> Tensor:
    """Lower factor L of a positive definite matrix, ``A = L L^T``.

    Args:
        matrix: (K, K).
        watch: Called with the fraction done after each block of columns; may raise to stop.

    Raises:
        torch.linalg.LinAlgError: if the matrix is not positive definite.
    """
    size = len(matrix)
    if size <= 2 * _BLOCK:
        return torch.linalg.cholesky(matrix)
    lower = torch.zeros_like(matrix)
    for start in range(0, size, _BLOCK):
        end = min(start + _BLOCK, size)
        panel = matrix[start:, start:end] - lower[start:, :start] @ lower[start:end, :start].t()
        width = end - start
        lower[start:end, start:end] = corner = torch.linalg.cholesky(panel[:width])
        lower[end:, start:end] = torch.linalg.solve_triangular(corner.t(), panel[width:], upper=True, left=False)
        watch(end / size)
    return lower


def cholesky_inverse(lower: Tensor, watch: Watch = unwatched) -> Tensor:
    """Inverse of ``L L^T``.

    Args:
        lower: (K, K), of `cholesky`.
        watch: Called with the fraction done after each block of columns; may raise to stop.
    """
    size = len(lower)
    if size <= 2 * _BLOCK:
        return torch.cholesky_inverse(lower)
    starts = list(range(0, size, _BLOCK))
    triangle = torch.zeros_like(lower)
    for number, start in enumerate(reversed(starts)):  # L^-1 from its last block of rows on
        end = min(start + _BLOCK, size)
        one = torch.eye(end - start, dtype=lower.dtype)
        corner = torch.linalg.solve_triangular(lower[start:end, start:end], one, upper=False)
        triangle[start:end, start:end] = corner
        triangle[end:, start:end] = -(triangle[end:, end:] @ (lower[end:, start:end] @ corner))
        watch(0.5 * (number + 1) / len(starts))
    inverse = torch.empty_like(lower)
    for number, start in enumerate(starts):
        end = min(start + _BLOCK, size)
        columns = triangle[start:, :end].t() @ triangle[start:, start:end]
        inverse[:end, start:end] = columns
        inverse[start:end, :end] = columns.t()
        watch(0.5 + 0.5 * (number + 1) / len(starts))
    return inverse
