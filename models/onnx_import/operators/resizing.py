"""Resized images."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from models.onnx_import.builder import Call
from models.onnx_import.operator_registry import operator
from models.onnx_import.values import Value

_ALIGNED = {"half_pixel": False, "pytorch_half_pixel": False, "align_corners": True}
_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@operator("Resize")
def resize(call: Call) -> Value:
    value = call.value(0)
    sizes = _sizes(call, value)
    mode = call.attribute("mode", "nearest")
    coordinates = call.attribute("coordinate_transformation_mode", "half_pixel")
    given = tuple(value.first.shape[2:])
    if sizes == given:
        return value
    settings: dict[str, Any] = {"size": sizes, "antialias": bool(call.attribute("antialias", 0))}
    if not call.has(3):  # where a length is rounded, the places of the pixels still follow the factors
        factors = tuple(float(n) for n in call.numbers("scales", 2) or ())[-len(sizes):]
        if any(size != n * factor for size, n, factor in zip(sizes, given, factors, strict=True)):
            settings["factors"] = factors
    if mode == "nearest":
        return call.emit(resized, value, **settings, mode=_nearest(call, coordinates, given, sizes))
    kind = _LINEAR.get(value.first.ndim) if mode == "linear" else "bicubic" if mode == "cubic" else None
    if kind is None or coordinates not in _ALIGNED:
        raise call.refuse(f"mode {mode!r} with {coordinates!r} is not supported; half_pixel and align_corners are")
    return call.emit(resized, value, **settings, mode=kind, align_corners=_ALIGNED[coordinates])


def _sizes(call: Call, value: Value) -> tuple[int, ...]:
    shape = list(value.first.shape)
    axes = [int(axis) % len(shape) for axis in call.attribute("axes", list(range(len(shape))))]
    if call.has(3):
        named = call.lengths(3)
        numbers = [n if isinstance(n, int) else shape[axis] for n, axis in zip(named, axes, strict=True)]
    else:
        numbers = [int(shape[axis] * n) for n, axis in zip(call.numbers("scales", 2) or (), axes, strict=True)]
    wanted = list(shape)
    for number, axis in zip(numbers, axes, strict=True):
        wanted[axis] = number
    if wanted[1] != shape[1] or wanted[0] != shape[0] or any(n < 1 for n in wanted):
        raise call.refuse(f"to {wanted} of {shape} is not supported; height and width alone may change")
    return tuple(wanted[2:])


def _nearest(call: Call, coordinates: str, given: tuple[int, ...], sizes: tuple[int, ...]) -> str:
    rounding = call.attribute("nearest_mode", "round_prefer_floor")
    whole = all(size % n == 0 for size, n in zip(sizes, given, strict=True))
    if coordinates == "asymmetric" and rounding == "floor":
        return "nearest"
    if coordinates in ("half_pixel", "pytorch_half_pixel") and whole:
        return "nearest-exact"
    raise call.refuse(f"nearest with {coordinates!r} and {rounding!r} is not supported; asymmetric with floor is")


def resized(
    x: Tensor, *, size: tuple[int, ...], mode: str, antialias: bool, align_corners: bool | None = None,
    factors: tuple[float, ...] | None = None,
) -> Tensor:
    """An image at another size."""
    if factors is not None:
        return F.interpolate(x, scale_factor=factors, mode=mode, align_corners=align_corners, antialias=antialias)
    return F.interpolate(x, size=size, mode=mode, align_corners=align_corners, antialias=antialias)
