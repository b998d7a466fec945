"""Pools."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models.onnx_import.builder import Call
from models.onnx_import.operator_registry import operator
from models.onnx_import.operators.padding import conv_padding, pad
from models.onnx_import.values import Value

_MAX = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_AVERAGE = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
_GLOBAL = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)
_GLOBAL_MAX = (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)


def _rank(call: Call) -> int:
    rank = call.value(0).first.ndim - 2
    if not 1 <= rank <= 3:
        raise call.refuse(f"its input has {rank + 2} axes; 3 to 5 are allowed")
    return rank


def _window(call: Call, rank: int) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    found = tuple(tuple(call.attribute(name, [1] * rank)) for name in ("kernel_shape", "strides", "dilations"))
    if any(len(numbers) != rank or min(numbers) < 1 for numbers in found):
        raise call.refuse(f"kernel_shape, strides and dilations of {rank} whole numbers from 1 are needed")
    return found[0], found[1], found[2]


@operator("MaxPool")
def max_pool(call: Call) -> Value:
    x, rank = call.value(0), _rank(call)
    kernel, strides, dilations = _window(call, rank)
    begins, ends = conv_padding(call, x.first.shape[2:], kernel, strides, dilations)
    ceil = bool(call.attribute("ceil_mode", 0))
    if begins != ends or any(2 * b > k for b, k in zip(begins, kernel, strict=True)):
        lowest = float("-inf") if x.first.is_floating_point() else torch.iinfo(x.first.dtype).min
        x = call.emit(pad, x, begins=(0, 0, *begins), ends=(0, 0, *ends), mode="constant", value=lowest)
        begins = (0,) * rank
    return call.emit(_MAX[rank - 1], x, kernel_size=kernel, stride=strides, padding=begins, dilation=dilations,
                     ceil_mode=ceil)


@operator("AveragePool")
def average_pool(call: Call) -> Value:
    x, rank = call.value(0), _rank(call)
    kernel, strides, dilations = _window(call, rank)
    if max(dilations) > 1:
        raise call.refuse(f"dilations: {list(dilations)} is not allowed; 1 is")
    begins, ends = conv_padding(call, x.first.shape[2:], kernel, strides, dilations)
    settings: dict[str, Any] = {"kernel_size": kernel, "stride": strides}
    ceil, padded = bool(call.attribute("ceil_mode", 0)), bool(call.attribute("count_include_pad", 0))
    if begins == ends and all(2 * b <= k for b, k in zip(begins, kernel, strict=True)):
        return call.emit(_AVERAGE[rank - 1], x, padding=begins, ceil_mode=ceil, count_include_pad=padded, **settings)
    if ceil:
        raise call.refuse("ceil_mode with different padding on the two sides is not supported")
    own = {"begins": (0, 0, *begins), "ends": (0, 0, *ends), "rank": rank, "count_padding": padded}
    return call.emit(unevenly_averaged, x, **own, **settings)


def unevenly_averaged(
    x: Tensor, *, begins: Sequence[int], ends: Sequence[int], rank: int, count_padding: bool,
    kernel_size: Sequence[int], stride: Sequence[int],
) -> Tensor:
    """Average pool with different padding on the two sides."""
    pool = _AVERAGE[rank - 1]
    sums = pool(pad(x, begins=begins, ends=ends, mode="constant", value=0.0), kernel_size, stride)
    if count_padding:
        return sums
    ones = pad(torch.ones_like(x[:1, :1]), begins=begins, ends=ends, mode="constant", value=0.0)
    return sums / pool(ones, kernel_size, stride)


@operator("GlobalAveragePool")
def global_average(call: Call) -> Value:
    return call.emit(_GLOBAL[_rank(call) - 1], call.value(0), output_size=1)


@operator("GlobalMaxPool")
def global_max(call: Call) -> Value:
    return call.emit(_GLOBAL_MAX[_rank(call) - 1], call.value(0), output_size=1)


@operator("LpPool")
def lp_pool(call: Call) -> Value:
    rank = _rank(call)
    kernel, strides, dilations = _window(call, rank)
    begins, ends = conv_padding(call, call.value(0).first.shape[2:], kernel, strides, dilations)
    if max(dilations) > 1 or call.attribute("ceil_mode", 0):
        raise call.refuse("dilations and ceil_mode are not supported")
    padded = call.emit(pad, call.value(0), begins=(0, 0, *begins), ends=(0, 0, *ends), mode="constant", value=0.0)
    return call.emit(power_pool, padded, p=float(call.attribute("p", 2)), kernel_size=kernel, stride=strides, rank=rank)


def power_pool(x: Tensor, *, p: float, kernel_size: Sequence[int], stride: Sequence[int], rank: int) -> Tensor:
    """The p-norm of each window."""
    means = _AVERAGE[rank - 1](x.abs() ** p, kernel_size, stride)
    return (means * torch.Size(kernel_size).numel()) ** (1 / p)
