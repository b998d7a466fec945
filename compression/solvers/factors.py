"""Factors of Hessians, remembered as long as the Hessian is: a slider move should not factorize anew."""

from collections.abc import Callable, MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_MOST_BYTES = 3 * 2**29
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
    return remembered(hessian, "upper", lambda h: torch.linalg.cholesky(_inverse(h), upper=True))


def ordered_factor(hessian: Tensor) -> tuple[Tensor, Tensor]:
    """Columns by decreasing ``diag(H)``, int64 (G, K), and the upper factor of the inverse in that order."""
    return remembered(hessian, "ordered", _ordered)


def _ordered(hessian: Tensor) -> tuple[Tensor, Tensor]:
    order = torch.argsort(torch.diagonal(hessian, dim1=1, dim2=2), dim=1, descending=True)
    groups = torch.arange(len(order))[:, None]
    ordered = hessian[groups[:, :, None], order[:, :, None], order[:, None, :]]
    return order, torch.linalg.cholesky(_inverse(ordered), upper=True)


def _inverse(hessian: Tensor) -> Tensor:
    return torch.cholesky_inverse(torch.linalg.cholesky(hessian))
