"""Graphs of networks that read the batch size as a number (``int(x.shape[0])``), made free of it again.

Tracing such code fixes the batch size. Two exports of different batch sizes differ in just those shapes that hold it,
and there the size of the input takes its place.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

BATCHES = (2, 3)
_SIZE = "batch_size"


def has_static_batch(proto: onnx.ModelProto) -> bool:
    """Whether a graph takes a fixed number of samples."""
    return proto.graph.input[0].type.tensor_type.shape.dim[0].HasField("dim_value")


def with_free_batch(two: onnx.ModelProto, three: onnx.ModelProto) -> onnx.ModelProto:
    """Of exports of 2 and of 3 samples the graph for any number, in place of the first; itself where they differ more.

    Args:
        two: Exported with two samples.
        three: The same with three.
    """
    graph, others = two.graph, {tensor.name: tensor for tensor in three.graph.initializer}
    if [(n.op_type, list(n.input)) for n in graph.node] != [(n.op_type, list(n.input)) for n in three.graph.node]:
        return two
    front, kept, free_targets = [], [], {n.input[1] for n in graph.node if n.op_type == "Reshape"}
    for tensor in graph.initializer:
        other = others.get(tensor.name)
        sizes = None if other is None or tensor.data_type != onnx.TensorProto.INT64 else _factors(tensor, other)
        if sizes is None:
            kept.append(tensor)
        elif tensor.name in free_targets and sum(sizes != 0) == 1 and -1 not in numpy_helper.to_array(tensor):
            target = np.where(sizes != 0, -1, numpy_helper.to_array(tensor))
            kept.append(numpy_helper.from_array(target, tensor.name))
        else:
            front += _computed(tensor, sizes, kept)
    if front:
        name = graph.input[0].name
        front.insert(0, helper.make_node("Shape", [name], [_SIZE], name=_SIZE, start=0, end=1))
    nodes = list(graph.node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*front, *nodes])
    graph.initializer.extend(kept)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return two


def _factors(two: onnx.TensorProto, three: onnx.TensorProto) -> np.ndarray | None:
    """How often each number holds the batch size, 0 where it does not depend on it; None where none does."""
    first, second = numpy_helper.to_array(two), numpy_helper.to_array(three)
    if first.shape != second.shape or first.ndim != 1 or np.array_equal(first, second):
        return None
    step = second - first
    same = first == BATCHES[0] * step
    return np.where(step == 0, 0, step) if bool((same | (step == 0)).all()) else None


def _computed(tensor: onnx.TensorProto, sizes: np.ndarray, kept: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    """Nodes that put a shape together when the graph runs; their constants go to the initializers that are kept."""
    nodes, parts = [], []
    for index, (number, factor) in enumerate(zip(numpy_helper.to_array(tensor), sizes, strict=True)):
        part = f"{tensor.name}.{index}"
        if factor == 1:
            parts.append(_SIZE)
            continue
        kept.append(numpy_helper.from_array(np.array([factor or number], dtype=np.int64), part))
        if factor:
            nodes.append(helper.make_node("Mul", [_SIZE, part], [f"{part}.product"], name=f"{part}.product"))
        parts.append(f"{part}.product" if factor else part)
    return [*nodes, helper.make_node("Concat", parts, [tensor.name], name=f"Concat:{tensor.name}", axis=0)]
