"""Factors of Hessians, remembered as long as the Hessian is: a slider move should not factorize anew."""

from collections.abc import Callable, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_MOST_BYTES = 3 * 2**29
_SMALL_TRIANGLE = 128
_known = WeakTensorKeyDictionary()


def remembered(hessian: Tensor, name: str, compute: Callable[[Tensor], Any]) -> Any:
    """``compute(hessian)``, the same object again for the same unchanged tensor.

    Args:
        hessian: (K, K) or (G, K, K).
        name: Tells apart what is computed.
        compute: Its result must not be changed. It is not kept where all that is kept would exceed 1.5 GiB.
    """
    base = hessian._base
    owner = hessian if base is None or base.numel() != hessian.numel() else base
    values = _known.setdefault(owner, {})
    key = (name, hessian.ndim)
    if key in values:
        return values[key]
    value = compute(hessian)
    if _bytes(value) + _bytes(_known) <= _MOST_BYTES:
        values[key] = value
    return value


def _bytes(value: Any) -> int:
    """Memory of the tensors in a value, an array of values or a table of them."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, MutableMapping):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, tuple | list) else 0


def upper_factor(hessian: Tensor) -> Tensor:
    """Upper Cholesky factor U of the inverse, ``H^-1 = U^T U``, of a damped (G, K, K)."""
    return remembered(hessian, "upper", _inverse_factor)


def ordered_factor(hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Columns by decreasing ``diag(H)``, int64 (G, K), and the upper factor of the inverse in that order."""
    return remembered(hessian, "ordered", _ordered)


def _ordered(hessian: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.argsort(torch.diagonal(hessian, dim1=1, dim2=2), dim=1, descending=True)
    groups = torch.arange(len(order))[:, None]
    ordered = hessian[groups[:, :, None], order[:, :, None], order[:, None, :]]
    return order, _inverse_factor(ordered)


def _inverse_factor(hessian: Tensor) -> Tensor:
    """``U = R^-1`` of ``H = R R^T`` with R upper triangular; half the work of inverting H and factorizing that."""
    return _inverse_triangle(torch.linalg.cholesky(hessian.flip(-1, -2)).flip(-1, -2))


def _inverse_triangle(upper: Tensor) -> Tensor:
    """Inverse of an upper triangular (..., K, K), by halves, so that most of it is matrix products."""
    size = upper.shape[-1]
    if size <= _SMALL_TRIANGLE:
        one = torch.eye(size, dtype=upper.dtype).expand_as(upper)
        return torch.linalg.solve_triangular(upper, one, upper=True)
    half, inverse = size // 2, torch.zeros_like(upper)
    first, last = _inverse_triangle(upper[..., :half, :half]), _inverse_triangle(upper[..., half:, half:])
    inverse[..., :half, :half], inverse[..., half:, half:] = first, last
    inverse[..., :half, half:] = -(first @ upper[..., :half, half:]) @ last
    return inverse
