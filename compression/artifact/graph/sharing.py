"""Weights that several layers share, once in the graph: what one layer holds the others read, transposed where needed.

A head tied to an embedding reads the table as (in, out). The node that transposes it depends on nothing but constants,
so ONNX Runtime carries it out once, when it loads the file, and no run takes longer.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from compression.artifact.graph.weights import SYMBOLS, tied_names


def share_symbols(proto: onnx.ModelProto, model: nn.Module) -> onnx.ModelProto:
    """A copy in which tied weights whose int8 symbols are equal, transposed or not, are held once.

    Args:
        proto: With integer weights for its kernels.
        model: Whose layers it holds.
    """
    shared = onnx.ModelProto()
    shared.CopyFrom(proto)
    graph = shared.graph
    held = {t.name: t for t in graph.initializer if t.data_type == TensorProto.INT8 and t.name.endswith(SYMBOLS)}
    first: dict[str, str] = {}
    nodes, gone = [], set()
    for name, source in tied_names(model).items():
        if name + SYMBOLS not in held:
            continue
        kept = first.setdefault(source, name)
        node = None if kept == name else _moved(held[kept + SYMBOLS], held[name + SYMBOLS])
        if node is not None:
            nodes.append(node)
            gone.add(name + SYMBOLS)
    rest, tensors = list(graph.node), [t for t in graph.initializer if t.name not in gone]
    del graph.node[:], graph.initializer[:]
    graph.node.extend([*nodes, *rest])
    graph.initializer.extend(tensors)
    return shared


def _moved(source: TensorProto, target: TensorProto) -> onnx.NodeProto | None:
    """The node that makes one tensor of another; None where they differ."""
    values, wanted = numpy_helper.to_array(source), numpy_helper.to_array(target)
    if np.array_equal(values, wanted):
        return helper.make_node("Identity", [source.name], [target.name], name=f"Identity:{target.name}")
    if values.ndim == 2 and np.array_equal(values.T, wanted):
        return helper.make_node(
            "Transpose", [source.name], [target.name], name=f"Transpose:{target.name}", perm=[1, 0]
        )
    return None


def moves(graph: onnx.GraphProto) -> dict[str, tuple[str, bool]]:
    """Values that are another one as it is or transposed: ``value -> (the other one, whether transposed)``."""
    found = {}
    for node in graph.node:
        axes = [list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"]
        if not node.domain and (node.op_type == "Identity" or (node.op_type == "Transpose" and axes == [[1, 0]])):
            found[node.output[0]] = (node.input[0], node.op_type == "Transpose")
    return found


def held_tensors(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    """A graph's initializers by name, and the values that are one of them as it is or transposed."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    for name, (source, transposed) in moves(graph).items():
        if source in held:
            values = numpy_helper.to_array(held[source])
            held[name] = numpy_helper.from_array(np.ascontiguousarray(values.T) if transposed else values, name)
    return held
