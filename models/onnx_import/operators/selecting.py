"""Operators that take parts of tensors, or put them together."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.onnx_import.builder import Call
from models.onnx_import.operator_registry import operator
from models.onnx_import.operators.layers import embedding
from models.onnx_import.values import Value, batch_axis, constant

_FAR = 2**31 - 1


def concat(*tensors: Tensor, axis: int) -> Tensor:
    """Tensors joined along an axis."""
    return torch.cat(tensors, axis)


@operator("Concat")
def concat_operator(call: Call) -> Value:
    values, axis = call.values(), call.attribute("axis", 0)
    axes = [batch_axis(value, call.builder.batches) for value in values if value.is_activation]
    moving = next((own for own in axes if own is not None), None)
    if call.builder.fixed is not None and moving is not None and moving != axis % values[0].first.ndim:
        length = call.builder.fixed
        values = [
            call.repeated(v, moving) if v.is_constant and length == 1 and v.first.shape[moving] == 1 else v
            for v in values
        ]
    return call.emit(concat, *values, axis=axis)


@operator("Split")
def split(call: Call) -> Value | tuple[Value, ...]:
    value, axis = call.value(0), call.attribute("axis", 0)
    count, length = len(call.node.outputs), value.first.shape[axis]
    sizes = [int(n) for n in call.numbers("split", 1) or ()]
    if not sizes:
        each = -(-length // count)
        sizes = [each] * (count - 1) + [length - each * (count - 1)]
    if len(sizes) != count or sum(sizes) != length or min(sizes) < 0:
        raise call.refuse(f"split: {sizes[:8]} does not fit {count} outputs and the length {length}")
    if count == 1:
        return value
    if len(set(sizes)) == 1:
        parts: tuple[Value, ...] = call.emit(chunk, value, outputs=count, count=count, axis=axis)
        return parts
    return call.emit(split_by, value, outputs=count, sizes=tuple(sizes), axis=axis)


def chunk(x: Tensor, *, count: int, axis: int) -> tuple[Tensor, ...]:
    """Equal parts along an axis."""
    return torch.chunk(x, count, axis)


def split_by(x: Tensor, *, sizes: Sequence[int], axis: int) -> tuple[Tensor, ...]:
    """Parts of these lengths along an axis."""
    return torch.split(x, list(sizes), axis)


@operator("Slice")
def slice_operator(call: Call) -> Value:
    value = call.value(0)
    starts, ends = ([int(n) for n in call.numbers(name, i) or ()] for i, name in ((1, "starts"), (2, "ends")))
    axes = [int(n) for n in call.numbers("axes", 3, list(range(len(starts)))) or ()]
    steps = [int(n) for n in call.numbers("steps", 4, [1] * len(starts)) or ()]
    if len({len(starts), len(ends), len(axes), len(steps)}) != 1 or 0 in steps:
        raise call.refuse("as many starts, ends, axes and steps other than 0 are needed")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        value = _slice(call, value, start, end, axis % value.first.ndim, step)
    return value


def _slice(call: Call, value: Value, start: int, end: int, axis: int, step: int) -> Value:
    if step < 0:
        value = call.emit(torch.flip, value, dims=(axis,))
        start, end, step = -1 - start, -1 - end, -step  # counted from the other end
        end = _FAR if end >= _FAR or end <= -_FAR else end
    whole = (start == 0 or start <= -value.first.shape[axis]) and end >= value.first.shape[axis] and step == 1
    if value.is_activation and batch_axis(value, call.builder.batches) == axis:
        if start == 0 and end >= _FAR and step == 1:
            return value
        raise call.refuse("it takes some samples out of the batch; samples must stay independent")
    return value if whole else call.emit(sliced, value, axis=axis, start=start, end=min(end, _FAR), step=step)


def sliced(x: Tensor, *, axis: int, start: int, end: int, step: int) -> Tensor:
    """A part along an axis."""
    index = [slice(None)] * axis + [slice(max(start, -_FAR), None if end == _FAR else max(end, -_FAR), step)]
    return x[tuple(index)]


@operator("Gather")
def gather(call: Call) -> Value:
    value, indices = call.value(0), call.value(1)
    axis = call.attribute("axis", 0) % max(1, value.first.ndim)
    if value.is_constant and indices.is_activation:
        if axis == 0 and value.first.ndim == 2 and value.first.is_floating_point():
            return embedding(call, value, indices)
        return call.emit(taken, value, indices, axis=axis)
    if value.is_activation and batch_axis(value, call.builder.batches) == axis:
        return _within_samples(call, value, indices, axis)
    if indices.is_constant and indices.first.ndim == 0 and value.is_activation:
        return call.emit(torch.select, value, dim=axis, index=int(indices.first))
    return call.emit(taken, value, indices, axis=axis)


def taken(x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    """Parts along an axis by their numbers, negative ones from the end."""
    if indices.device.type != "meta" and indices.numel():
        indices = torch.where(indices < 0, indices + x.shape[axis], indices)
    flat = torch.index_select(x, axis, indices.reshape(-1))
    return flat.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _within_samples(call: Call, value: Value, indices: Value, axis: int) -> Value:
    """Rows of all samples one below the other, by numbers that count on from sample to sample."""
    batches, refusal = call.builder.batches, "it takes some samples out of the batch; samples must stay independent"
    if axis or indices.is_constant or indices.is_activation or batch_axis(indices, batches) != 0:
        raise call.refuse(refusal)
    rows, one = value.first.shape[0] // batches[0], indices.first[:1]
    for batch, probe in zip(batches, indices.probes, strict=True):
        starts = rows * torch.arange(batch).reshape(-1, *[1] * (probe.ndim - 1))
        if probe.shape[0] != batch or not torch.equal(probe, one + starts) or not 0 <= one.min() <= one.max() < rows:
            raise call.refuse(refusal)
    return call.emit(taken_by_sample, value, constant(one), rows=rows)


def taken_by_sample(x: Tensor, indices: Tensor, *, rows: int) -> Tensor:
    """Of every sample's rows those of these numbers."""
    found = x.reshape((-1, rows, *x.shape[1:])).index_select(1, indices.reshape(-1))
    return found.reshape((-1, *indices.shape[1:], *x.shape[1:]))


@operator("GatherElements")
def gather_elements(call: Call) -> Value:
    return call.emit(elements, call.value(0), call.value(1), axis=call.attribute("axis", 0))


def elements(x: Tensor, indices: Tensor, *, axis: int) -> Tensor:
    """Values along an axis by their numbers, negative ones from the end."""
    return torch.gather(x, axis, torch.where(indices < 0, indices + x.shape[axis], indices))


@operator("GatherND")
def gather_nd(call: Call) -> Value:
    if call.attribute("batch_dims", 0) or call.value(0).is_activation:
        raise call.refuse("only constants are supported, without batch_dims")
    return call.emit(points, call.value(0), call.value(1))


def points(x: Tensor, indices: Tensor) -> Tensor:
    """Parts by tuples of numbers."""
    return x[tuple(indices.unbind(-1))]


@operator("ScatterND")
def scatter_nd(call: Call) -> Value:
    if call.attribute("reduction", "none") != "none" or any(v.is_activation for v in call.values()):
        raise call.refuse("only constants are supported, without a reduction")
    return call.emit(with_points, *call.values())


def with_points(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """Parts replaced by tuples of numbers."""
    return x.index_put(tuple(indices.unbind(-1)), updates)


@operator("Trilu")
def triangle(call: Call) -> Value:
    function = torch.triu if call.attribute("upper", 1) else torch.tril
    return call.emit(function, call.value(0), diagonal=int(call.scalar(1, 0)))


@operator("OneHot")
def one_hot(call: Call) -> Value:
    off, on = call.constant(2).reshape(-1).tolist()
    if call.attribute("axis", -1) not in (-1, call.value(0).first.ndim):
        raise call.refuse("only the last axis is supported")
    kind = call.value(2).first.dtype
    return call.emit(marked, call.value(0), depth=int(call.scalar(1, 1)), off=off, on=on, kind=kind)


def marked(x: Tensor, *, depth: int, off: float, on: float, kind: torch.dtype) -> Tensor:
    """A vector per whole number with one entry set."""
    hit = torch.arange(depth, device=x.device) == (x % depth).unsqueeze(-1)
    return torch.where(hit, torch.tensor(on, dtype=kind), torch.tensor(off, dtype=kind))
