"""A model exported to ONNX, its graph tidied so that other weights and widths fit into it."""

import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from compression.artifact.graph.static_batch import BATCHES, has_static_batch, with_free_batch
from compression.core.errors import GraphError

_CLAMPS = ("clamp", "clamp_", "clip", "clip_")
INPUT, OUTPUT = "input", "output"
Shape = list[int | str]
Shapes = dict[str, Shape | None]


def export_model(lowered: nn.Module, example_input: Tensor, free: bool = False) -> onnx.ModelProto:
    """Export a lowered model with its weights and a dynamic batch dimension.

    Args:
        lowered: Of `lowered_copy`.
        example_input: (1, ...).
        free: Make the graph independent of layer widths where that is possible.

    Raises:
        GraphError: if PyTorch cannot export it.
    """
    proto = _exported(lowered, example_input, BATCHES[0])
    if has_static_batch(proto):
        proto = with_free_batch(proto, _exported(lowered, example_input, BATCHES[1]))
    shapes = {v.name: _shape(v) for v in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)}
    join_gemm(proto.graph, shapes)
    if free:
        _free_reshapes(proto.graph, shapes)
    del proto.graph.value_info[:]
    return proto


def _exported(lowered: nn.Module, example_input: Tensor, batch: int) -> onnx.ModelProto:
    """PyTorch's export of a model, traced with so many samples."""
    example = torch.cat([example_input[:1]] * batch)
    with _quiet("torch.onnx", "onnx_ir"), warnings.catch_warnings(), _EqualBounds():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                lowered, (example,), dynamo=True, verbose=False, optimize=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},), input_names=[INPUT], output_names=[OUTPUT],
            )
        except torch.onnx.errors.OnnxExporterError as error:
            cause = error.__cause__ or error
            raise GraphError("the graph", "the export itself", " ".join(str(cause).split())[:200]) from None
        _optimize(program, {name for name, _ in lowered.named_parameters()})
    buffer = io.BytesIO()
    program.save(buffer)
    proto = onnx.load_model_from_string(buffer.getvalue())
    _strip(proto)
    return proto


class _EqualBounds(TorchFunctionMode):
    """Gives `clamp` two floats where its bounds are a whole number and a float, which the exporter cannot convert."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _CLAMPS and {int, float} <= {type(v) for v in (*args, *kwargs.values())}:
            args = tuple(float(value) if type(value) is int else value for value in args)
            kwargs = {name: float(value) if type(value) is int else value for name, value in kwargs.items()}
        return func(*args, **kwargs)


@contextmanager
def _quiet(*loggers: str) -> Iterator[None]:
    """Errors only, for a while."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    try:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _optimize(program: torch.onnx.ONNXProgram, parameters: set[str]) -> None:
    """Fold what is constant, but no parameter: as inputs of the graph they cannot be; their values come later."""
    graph = program.model.graph
    held = [value for name, value in graph.initializers.items() if name in parameters]
    graph.inputs.extend(held)
    program.optimize()
    for value in held:
        graph.inputs.remove(value)


def _strip(proto: onnx.ModelProto) -> None:
    """Drop what only describes where nodes came from; it would be counted as size."""
    graph = proto.graph
    proto.doc_string = graph.doc_string = ""
    del proto.metadata_props[:], graph.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]


def join_gemm(graph: onnx.GraphProto, shapes: Shapes) -> None:
    """Make one Gemm of a matrix product of rank 2 and its bias; the integer Gemm kernel needs them together."""
    constants = {t.name for t in graph.initializer}
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    for node in [n for n in graph.node if n.op_type == "MatMul"]:
        users = consumers.get(node.output[0], [])
        flat = len(shapes.get(node.input[0]) or ()) == 2
        if not flat or node.input[1] not in constants or len(users) != 1 or users[0].op_type != "Add":
            continue
        bias = [name for name in users[0].input if name != node.output[0]]
        if len(bias) == 1 and bias[0] in constants and bias[0].endswith(".bias"):
            node.op_type = "Gemm"
            node.input.append(bias[0])
            node.output[0] = users[0].output[0]
            graph.node.remove(users[0])


def _free_reshapes(graph: onnx.GraphProto, shapes: Shapes) -> None:
    """Rewrite constant Reshape targets so that they follow their input's widths where they can.

    ``[-1, 64, 6, 16]`` of an input (batch, 64, 96) becomes ``[0, 0, -1, 16]``: leading dimensions are copied, and
    the number of heads is inferred.
    """
    constants = {t.name: t for t in graph.initializer}
    for number, node in enumerate(n for n in graph.node if n.op_type == "Reshape"):
        source, target = shapes.get(node.input[0]), constants.get(node.input[1])
        if source is None or target is None:
            continue
        wanted = [int(d) for d in numpy_helper.to_array(target)]
        freed = _freed(source, wanted)
        if freed is not None:
            name = f"reshape_target_{number}"
            graph.initializer.append(numpy_helper.from_array(np.array(freed, dtype=np.int64), name))
            node.input[1] = name
            del node.attribute[:]
    used = {name for node in graph.node for name in node.input}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def _freed(source: Shape, wanted: list[int]) -> list[int] | None:
    """A target that copies the leading dimensions both have in common and infers the next one; None where it cannot."""
    same = 0
    while same < min(len(source), len(wanted)) and (
        wanted[same] == source[same] or (same == 0 and _keeps_batch(source, wanted))
    ):
        same += 1
    if same == 0 or same == len(source) == len(wanted):
        return None
    if same == len(wanted):  # what follows in the source are dimensions of one
        same -= 1
    return [0] * same + [-1] + wanted[same + 1 :]


def _keeps_batch(source: Shape, wanted: list[int]) -> bool:
    """Whether an inferred first dimension is the source's own, not the batch times or by something."""
    rest = [length for length in source[1:] if isinstance(length, int)]
    whole = len(rest) == len(source) - 1
    return wanted[0] == -1 and isinstance(source[0], str) and (not whole or math.prod(rest) == math.prod(wanted[1:]))
