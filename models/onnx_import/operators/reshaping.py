"""Operators that keep all values and give them another shape or order."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from models.onnx_import.builder import Call
from models.onnx_import.network import Extent, Length
from models.onnx_import.operator_registry import operator
from models.onnx_import.values import Kind, Value, batch_axis, lengths_of


def reshape(x: Tensor, *, copied: int, rest: tuple[int, ...]) -> Tensor:
    """Copy the leading lengths of the input, then those that are given, of which one may be -1."""
    return x.reshape((*x.shape[:copied], *rest))


def flatten(x: Tensor, *, axis: int) -> Tensor:
    """All axes from one on as one."""
    return torch.flatten(x, axis)


def swap_last(x: Tensor) -> Tensor:
    """The last two axes swapped."""
    return x.transpose(-2, -1)


def plain_reshape(x: Tensor, *, shape: tuple[int, ...]) -> Tensor:
    """Of what is known before anything is given."""
    return x.reshape(shape)


def to_shape(call: Call, value: Value, wanted: list[Length]) -> Value:
    """A value in another shape.

    Leading lengths that it has already are copied from it and one other is inferred, so that the step also holds for
    other widths; a length that follows the batch is always one of these.
    """
    if not value.is_activation:
        return _known(call, value, wanted)
    own = lengths_of(tuple(tuple(p.shape) for p in value.probes), call.builder.batches) or []
    same = 0
    while same < min(len(own), len(wanted)) and own[same] == wanted[same]:
        same += 1
    if same == len(own) == len(wanted):
        return value
    if same == len(wanted):
        same -= 1
    rest = wanted[same:]
    open_lengths = [index for index, length in enumerate(rest) if isinstance(length, Extent)]
    if len(open_lengths) > 1:
        raise call.refuse("more than one of its lengths follows the batch")
    inferred = open_lengths[0] if open_lengths else 0
    if same == 1 and len(rest) == 1 and len(own) > 1:
        return call.emit(flatten, value, axis=1)
    numbers = tuple(-1 if index == inferred else int(length) for index, length in enumerate(rest))  # type: ignore[arg-type]
    return call.emit(reshape, value, copied=same, rest=numbers)


def _known(call: Call, value: Value, wanted: list[Length]) -> Value:
    if all(isinstance(length, int) for length in wanted):
        return call.emit(plain_reshape, value, shape=tuple(wanted))
    batches = call.builder.batches
    shapes = [tuple(n.at(b) if isinstance(n, Extent) else n for n in wanted) for b in batches]
    probes = tuple(value.at(i).reshape(shape) for i, shape in enumerate(shapes))
    return Value(Kind.BATCH, probes, origin=value.origin)


@operator("Reshape")
def reshape_operator(call: Call) -> Value:
    value, target = call.value(0), call.lengths(1)
    zero_copies = not call.attribute("allowzero", 0)
    if len(target) > 12 or sum(length == -1 for length in target) > 1:
        raise call.refuse("at most one length -1 and 12 axes are allowed")
    shapes = []
    for probe, batch in enumerate(call.builder.batches):
        given = value.at(probe).shape
        numbers = [length.at(batch) if isinstance(length, Extent) else length for length in target]
        numbers = [given[i] if n == 0 and zero_copies and i < len(given) else n for i, n in enumerate(numbers)]
        shapes.append(_resolved(numbers, prod(given)))
    if call.builder.fixed is not None and value.is_activation and all(isinstance(n, int) for n in target):
        return follow_batch(call, value, shapes[0])
    wanted = lengths_of(tuple(shapes), call.builder.batches)
    if wanted is None or any(prod(s) != value.at(i).numel() for i, s in enumerate(shapes)):
        sizes = "x".join(map(str, value.first.shape))
        raise call.refuse(f"{sizes} values (a batch of {call.builder.batches[0]}) do not fit the shape {target}")
    return to_shape(call, value, wanted)


def _resolved(numbers: Sequence[int], total: int) -> tuple[int, ...]:
    rest = prod(n for n in numbers if n != -1)
    return tuple((total // rest if rest else 0) if n == -1 else n for n in numbers)


def follow_batch(call: Call, value: Value, shape: Sequence[int]) -> Value:
    """Give a value of a file of a fixed batch size a shape of that file, for any batch size.

    Values lie in memory sample by sample behind the axes before the batch. If as many values are before one of the
    new axes, and that axis' length is a multiple of the file's batch size, then the samples are the leading part of
    it: with another batch size that axis alone becomes longer.

    Raises:
        NodeError: if there is no such axis.
    """
    batches, fixed = call.builder.batches, call.builder.fixed
    assert fixed is not None
    axis = batch_axis(value, batches)
    if axis is None or prod(shape) != value.first.numel():
        raise call.refuse(f"the shape {list(shape)} does not fit its input {list(value.first.shape)}")
    before, own = prod(value.first.shape[:axis]), value.first.shape[axis]
    if before > 1 and len(shape) == 2 and shape[0] == before * fixed and _only_multiplied(call):
        lengths = lengths_of(tuple(tuple(p.shape) for p in value.probes), batches) or []
        return to_shape(call, value, [*lengths[:axis], Extent(fixed), shape[1]])
    fitting = [i for i, n in enumerate(shape) if prod(shape[:i]) == before and n and n % fixed == 0]
    if not fitting:
        raise call.refuse(f"the shape {list(shape)} mixes the samples of a batch")
    chosen = next((i for i in fitting if shape[i] == own), fitting[-1] if shape[fitting[-1]] != 1 else fitting[0])
    if call.builder.leading and fitting[0] == 0 and shape[0] == 1:
        chosen = 0
    wanted: list[Length] = list(shape)
    wanted[chosen] = Extent(shape[chosen] // fixed)
    return to_shape(call, value, wanted)


def _only_multiplied(call: Call) -> bool:
    """Whether rows are made for nothing but products with matrices, which layers do on any number of axes."""
    name, graph = call.node.outputs[0], call.builder.graph
    readers = call.builder.readers.get(name, [])
    products = all(
        node.operator in ("Gemm", "MatMul") and node.inputs[0] == name and node.inputs[1] in graph.constants
        and not node.attributes.get("transA", 0) for node in readers
    )
    return bool(readers) and products and name not in graph.outputs


@operator("Flatten")
def flatten_operator(call: Call) -> Value:
    value = call.value(0)
    axis = call.attribute("axis", 1)
    axis = axis + value.first.ndim if axis < 0 else axis
    shapes = tuple((prod(p.shape[:axis]), prod(p.shape[axis:])) for p in value.probes)
    if not value.is_activation:
        return call.emit(plain_reshape, value, shape=(prod(value.first.shape[:axis]), -1))
    wanted = lengths_of(shapes, call.builder.batches)
    if wanted is None:
        raise call.refuse("it mixes the samples of a batch")
    return to_shape(call, value, wanted)


@operator("Transpose")
def transpose(call: Call) -> Value:
    value = call.value(0)
    order = tuple(call.attribute("perm", list(range(value.first.ndim))[::-1]))
    if sorted(order) != list(range(value.first.ndim)):
        raise call.refuse(f"perm: {list(order)} is not allowed; an order of {value.first.ndim} axes is needed")
    if order == tuple(range(value.first.ndim)):
        return value
    step = call.builder.made_by.get(value.name) if value.is_activation else None
    if step is not None and step.function is torch.permute:
        before = step.settings["dims"]
        source = next(v for v in call.builder.activations() if v.name == step.inputs[0])
        joined = tuple(before[axis] for axis in order)
        return source if joined == tuple(range(len(joined))) else call.emit(torch.permute, source, dims=joined)
    result: Value = call.emit(torch.permute, value, dims=order)
    if value.is_constant and value.origin is not None and order == (1, 0):
        return Value(result.kind, result.probes, origin=value.origin.transposed())
    return result


@operator("Squeeze")
def squeeze(call: Call) -> Value:
    value, axes = call.value(0), call.numbers("axes", 1)
    shape = value.first.shape
    gone = [a % max(1, len(shape)) for a in axes] if axes else [i for i, n in enumerate(shape) if n == 1]
    if any(axis >= len(shape) or shape[axis] != 1 for axis in gone):
        raise call.refuse(f"axes {axes} of the shape {list(shape)} are not all of length 1")
    kept = [axis for axis in range(len(shape)) if axis not in gone]
    if call.builder.fixed is not None and value.is_activation:
        return follow_batch(call, value, [shape[axis] for axis in kept])
    return _with_lengths(call, value, [[p.shape[axis] for axis in kept] for p in value.probes])


@operator("Unsqueeze")
def unsqueeze(call: Call) -> Value:
    value, axes = call.value(0), call.numbers("axes", 1) or []
    rank = value.first.ndim + len(axes)
    new = sorted(axis % rank for axis in axes)
    if len(set(new)) != len(axes) or rank > 12 or any(not -rank <= axis < rank for axis in axes):
        raise call.refuse(f"axes: {axes[:8]} is not allowed; different axes from 0 to {rank - 1} are needed")
    shapes = []
    for probe in value.probes:
        lengths = list(probe.shape)
        for axis in new:
            lengths.insert(axis, 1)
        shapes.append(lengths)
    return _with_lengths(call, value, shapes)


def _with_lengths(call: Call, value: Value, shapes: list[list[int]]) -> Value:
    if value.is_constant:
        result: Value = call.emit(plain_reshape, value, shape=tuple(shapes[0]))
        return result
    if not value.is_activation:
        return Value(value.kind, tuple(p.reshape(s) for p, s in zip(value.probes, shapes, strict=True)))
    wanted = lengths_of(tuple(tuple(s) for s in shapes), call.builder.batches)
    if wanted is None:
        raise call.refuse("it mixes the samples of a batch")
    return to_shape(call, value, wanted)


@operator("DepthToSpace")
def depth_to_space(call: Call) -> Value:
    size, mode = call.attribute("blocksize", 1), call.attribute("mode", "DCR")
    _check_blocks(call, size, [call.value(0).first.shape[1] % (size * size) if size > 0 else 1])
    return call.emit(blocks_to_space, call.value(0), size=size, depth_first=mode == "DCR")


def blocks_to_space(x: Tensor, *, size: int, depth_first: bool) -> Tensor:
    """Channels to blocks of pixels."""
    n, c, h, w = x.shape
    split = (n, size, size, -1, h, w) if depth_first else (n, -1, size, size, h, w)
    order = (0, 3, 4, 1, 5, 2) if depth_first else (0, 1, 4, 2, 5, 3)
    return x.reshape(split).permute(order).reshape(n, c // size**2, h * size, w * size)


@operator("SpaceToDepth")
def space_to_depth(call: Call) -> Value:
    size = call.attribute("blocksize", 1)
    _check_blocks(call, size, [n % size if size > 0 else 1 for n in call.value(0).first.shape[2:]])
    return call.emit(space_to_blocks, call.value(0), size=size)


def space_to_blocks(x: Tensor, *, size: int) -> Tensor:
    """Blocks of pixels to channels."""
    n, c, h, w = x.shape
    split = x.reshape(n, c, h // size, size, w // size, size)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(n, c * size**2, h // size, w // size)


def _check_blocks(call: Call, size: int, rests: list[int]) -> None:
    if call.value(0).first.ndim != 4 or any(rests):
        raise call.refuse(f"blocksize: {size} does not divide the lengths of {list(call.value(0).first.shape)}")
