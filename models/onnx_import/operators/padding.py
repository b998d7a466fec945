"""Padding: of convolutions and pools, and as an operator."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from models.onnx_import.operator_registry import operator

if TYPE_CHECKING:
    from models.onnx_import.builder import Call
    from models.onnx_import.values import Value

Pads = tuple[tuple[int, ...], tuple[int, ...]]
_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def conv_padding(
    call: "Call", sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Pads:
    """Padding before and behind each spatial axis, by ``pads`` or ``auto_pad``."""
    kind, rank = call.attribute("auto_pad", "NOTSET"), len(kernel)
    if kind == "VALID":
        return (0,) * rank, (0,) * rank
    if kind == "NOTSET":
        pads = call.attribute("pads", [0] * 2 * rank)
        if len(pads) != 2 * rank or min(pads) < 0:
            raise call.refuse(f"pads: {pads[:8]} is not allowed; {2 * rank} whole numbers from 0 are needed")
        return tuple(pads[:rank]), tuple(pads[rank:])
    if kind not in ("SAME_UPPER", "SAME_LOWER"):
        raise call.refuse(f"auto_pad: {kind!r} is not allowed; NOTSET, VALID, SAME_UPPER and SAME_LOWER are")
    totals = [
        max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    return (small, large) if kind == "SAME_UPPER" else (large, small)


def pad(x: Tensor, *, begins: Sequence[int], ends: Sequence[int], mode: str, value: float) -> Tensor:
    """Pad each axis; negative numbers cut."""
    pairs = list(zip(begins, ends, strict=True))
    while mode == "constant" and pairs and pairs[0] == (0, 0):
        pairs.pop(0)
    flat = [number for pair in reversed(pairs) for number in pair]
    if not flat:
        return x
    if mode == "constant":
        return F.pad(x, flat, value=value)
    axes = [axis for axis, pair in enumerate(pairs) if pair != (0, 0)]
    for axis in axes:  # one axis at a time: PyTorch pads only the last ones otherwise
        moved = x.movedim(axis, -1)
        shape = moved.shape
        moved = F.pad(moved.reshape(1, -1, shape[-1]), list(pairs[axis]), mode=mode)
        x = moved.reshape(*shape[:-1], moved.shape[-1]).movedim(-1, axis)
    return x


@operator("Pad")
def pad_operator(call: "Call") -> "Value":
    x, mode = call.value(0), _MODES.get(call.attribute("mode", "constant"))
    numbers = [int(n) for n in call.numbers("pads", 1) or ()]
    axes = [int(a) % x.first.ndim for a in call.numbers("axes", 3, list(range(x.first.ndim))) or ()]
    if mode is None or len(numbers) != 2 * len(axes):
        raise call.refuse(f"mode {call.attribute('mode')!r} with {len(numbers)} pads is not allowed")
    begins, ends = [0] * x.first.ndim, [0] * x.first.ndim
    for number, axis in enumerate(axes):
        begins[axis], ends[axis] = numbers[number], numbers[number + len(axes)]
    value = call.scalar(2, 0)
    if x.first.dtype == torch.bool:
        raise call.refuse("booleans cannot be padded; numbers can")
    return call.emit(pad, x, begins=tuple(begins), ends=tuple(ends), mode=mode, value=value)
