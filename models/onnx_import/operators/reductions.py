"""Reductions along axes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from models.onnx_import.builder import Call
from models.onnx_import.operator_registry import operator
from models.onnx_import.values import Value


def product(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """Product along axes."""
    for axis in sorted((d % x.ndim for d in dim), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


def norm(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """Euclidean norm along axes."""
    return x.square().sum(dim, keepdim=keepdim).sqrt()


def absolute_sum(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """Sum of absolute values along axes."""
    return x.abs().sum(dim, keepdim=keepdim)


def square_sum(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """Sum of squares along axes."""
    return x.square().sum(dim, keepdim=keepdim)


def log_sum(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """Logarithm of the sum along axes."""
    return x.sum(dim, keepdim=keepdim).log()


def total(x: Tensor, dim: tuple[int, ...], keepdim: bool) -> Tensor:
    """Sum along axes, in the type of what is summed."""
    return x.sum(dim, keepdim=keepdim, dtype=x.dtype)


_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "ReduceMean": torch.mean, "ReduceSum": total, "ReduceMax": torch.amax, "ReduceMin": torch.amin,
    "ReduceProd": product, "ReduceL2": norm, "ReduceL1": absolute_sum, "ReduceSumSquare": square_sum,
    "ReduceLogSum": log_sum, "ReduceLogSumExp": torch.logsumexp,
}
_ARGUMENTS = {"ArgMax": torch.argmax, "ArgMin": torch.argmin}


@operator(*_REDUCTIONS)
def reduction(call: Call) -> Value:
    x = call.value(0)
    axes = call.numbers("axes", 1)
    keep: Any = bool(call.attribute("keepdims", 1))
    if not axes:
        if call.attribute("noop_with_empty_axes", 0):
            return x
        axes = list(range(x.first.ndim))
    dims = tuple(int(axis) for axis in axes)
    return call.emit(_REDUCTIONS[call.node.operator], x, dim=dims, keepdim=keep)


@operator(*_ARGUMENTS)
def argument(call: Call) -> Value:
    if call.attribute("select_last_index", 0):
        raise call.refuse("select_last_index is not supported; the first index is")
    keep = bool(call.attribute("keepdims", 1))
    return call.emit(_ARGUMENTS[call.node.operator], call.value(0), dim=call.attribute("axis", 0), keepdim=keep)


@operator("CumSum")
def cumulative_sum(call: Call) -> Value:
    if call.attribute("exclusive", 0) or call.attribute("reverse", 0):
        raise call.refuse("exclusive and reverse sums are not supported; plain ones are")
    return call.emit(running_sum, call.value(0), axis=int(call.scalar(1, 0)))


def running_sum(x: Tensor, *, axis: int) -> Tensor:
    """Cumulative sum in the type of what is summed."""
    return torch.cumsum(x, axis, dtype=x.dtype)


@operator("TopK")
def top_k(call: Call) -> tuple[Value, ...]:
    settings = {"k": int(call.scalar(1, 1)), "dim": call.attribute("axis", -1)}
    return call.emit(largest_values, call.value(0), outputs=2, largest=bool(call.attribute("largest", 1)), **settings)


def largest_values(x: Tensor, *, k: int, dim: int, largest: bool) -> tuple[Tensor, Tensor]:
    """The largest or smallest values along an axis and where they are."""
    found = torch.topk(x, k, dim, largest)
    return found.values, found.indices
