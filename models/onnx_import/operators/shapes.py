"""Operators on shapes, and those that make tensors of a shape."""

from collections.abc import Callable

import torch
from torch import Tensor

from models.onnx_import.builder import Call
from models.onnx_import.network import Extent
from models.onnx_import.operator_registry import operator
from models.onnx_import.values import Value, lengths_of, of_batch


@operator("Shape")
def shape(call: Call) -> Value:
    value, start, end = call.value(0), call.attribute("start", 0), call.attribute("end")
    return of_batch(tuple(torch.tensor(list(p.shape)[start:end], dtype=torch.int64) for p in value.probes))


@operator("Size")
def size(call: Call) -> Value:
    return of_batch(tuple(torch.tensor(p.numel()) for p in call.value(0).probes))


@operator("ConstantOfShape")
def constant_of_shape(call: Call) -> Value:
    value = call.attribute("value")
    filling = torch.zeros(1) if value is None else torch.from_numpy(value).reshape(-1)
    return _each(call, 0, lambda lengths: torch.full(lengths, filling[0].item(), dtype=filling.dtype))


def _each(call: Call, index: int, make: Callable[[list[int]], Tensor]) -> Value:
    """A tensor per batch size, of lengths that an input gives; the limits are checked before it is made."""
    value = call.value(index)
    if value.is_activation:
        raise call.refuse("its shape must not depend on what is given")
    probes = []
    for probe in value.probes:
        lengths = [int(n) for n in probe.reshape(-1).tolist()]
        if len(lengths) > 12 or any(n < 0 for n in lengths):
            raise call.refuse(f"the shape {lengths[:8]} is not allowed; at most 12 lengths from 0 are")
        total = 1
        for n in lengths:
            total *= n
        call.builder.count(call.node, total)
        probes.append(make(lengths))
    return of_batch(tuple(probes))


@operator("Range")
def number_range(call: Call) -> Value:
    values = [call.value(i) for i in range(3)]
    if any(value.is_activation for value in values):
        raise call.refuse("its bounds must not depend on what is given")
    count = max(len(value.probes) for value in values)
    probes = []
    for probe in range(count):
        start, limit, delta = (value.at(probe).reshape(-1)[0].item() for value in values)
        if not delta or abs(limit - start) / abs(delta) != abs(limit - start) / abs(delta):
            raise call.refuse("delta: 0 is not allowed")
        call.builder.count(call.node, int(max(0, (limit - start) / delta)) + 1)
        probes.append(torch.arange(start, limit, delta, dtype=values[0].first.dtype))
    return of_batch(tuple(probes))


@operator("Expand")
def expand(call: Call) -> Value:
    value, wanted = call.value(0), call.lengths(1)
    batches = call.builder.batches
    shapes = []
    for probe, batch in enumerate(batches):
        given = tuple(length.at(batch) if isinstance(length, Extent) else length for length in wanted)
        shapes.append(tuple(torch.broadcast_shapes(value.at(probe).shape, given)))
    if not value.is_activation:
        for own in shapes:
            call.builder.count(call.node, torch.Size(own).numel())
        probes = tuple(value.at(i).expand(own).contiguous() for i, own in enumerate(shapes))
        return of_batch(probes, None if value.origin is None else value.origin.derived())
    lengths = lengths_of(tuple(shapes), batches)
    if lengths is None:
        raise call.refuse("its shape does not follow the batch")
    own = [1] * (len(lengths) - value.first.ndim) + list(value.first.shape)
    sizes = tuple(-1 if n == shapes[0][i] else lengths[i] for i, n in enumerate(own))
    if all(n == -1 for n in sizes) and len(own) == value.first.ndim:
        return value
    return call.emit(expanded, value, batched=True, sizes=sizes)


def expanded(x: Tensor, *, sizes: tuple[int | Extent, ...], batch: int) -> Tensor:
    """Copies along axes of length one; -1 keeps a length."""
    return x.expand([length.at(batch) if isinstance(length, Extent) else length for length in sizes])


@operator("Tile")
def tile(call: Call) -> Value:
    repeats = [int(n) for n in call.constant(1).reshape(-1).tolist()]
    value = call.value(0)
    if len(repeats) != value.first.ndim or any(n < 1 for n in repeats):
        raise call.refuse(f"repeats: {repeats[:8]} is not allowed; {value.first.ndim} whole numbers from 1 are needed")
    if all(n == 1 for n in repeats):
        return value
    return call.emit(tiled, value, repeats=tuple(repeats))


def tiled(x: Tensor, *, repeats: tuple[int, ...]) -> Tensor:
    """Copies side by side."""
    return torch.tile(x, repeats)


@operator("NonZero")
def non_zero(call: Call) -> Value:
    x = call.constant(0)
    call.builder.count(call.node, x.numel() * max(1, x.ndim))
    return of_batch((torch.nonzero(x).t().contiguous(),))
