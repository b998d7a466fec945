"""What a file must be before anything of it is used."""

import math

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper
from onnx.inliner import inline_local_functions

from models.onnx_import.errors import NodeError, OnnxError, shortened
from models.onnx_import.files import all_tensors
from models.onnx_import.limits import EARLIEST_OPSET, LARGEST_FILE, MOST_DIMENSIONS, MOST_NODES, MOST_TENSORS
from models.onnx_import.operator_registry import is_known, why_not

STANDARD = ("", "ai.onnx")
_NUMERIC = (
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT64,
    TensorProto.INT32, TensorProto.INT16, TensorProto.INT8, TensorProto.UINT8, TensorProto.UINT16,
    TensorProto.UINT32, TensorProto.UINT64, TensorProto.BOOL,
)
_FIELDS = {
    TensorProto.FLOAT: "float_data", TensorProto.DOUBLE: "double_data", TensorProto.INT64: "int64_data",
    TensorProto.UINT64: "uint64_data", TensorProto.UINT32: "uint64_data",
}
_SUBGRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """A file whose form is right, its own functions written out where they are used.

    Raises:
        OnnxError: naming what is wrong and what is allowed.
    """
    _check_whole(model)
    if model.functions:
        _check_functions(model)
        try:
            model = inline_local_functions(model)
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
            raise OnnxError(f"the file's functions cannot be written out: {reason}") from None
    for tensor in all_tensors(model):
        _check_tensor(tensor)
    for node in model.graph.node:
        _check_node(node)
    names = [tensor.name for tensor in model.graph.initializer]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise OnnxError(f"tensor {shortened(twice)}: there are two of that name")
    return model


def _check_whole(model: onnx.ModelProto) -> None:
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    if not versions or max(versions) < EARLIEST_OPSET:
        found = max(versions) if versions else "none"
        raise OnnxError(f"opset: {found} is not allowed; {EARLIEST_OPSET} or later of the standard operators is needed")
    latest = onnx.defs.onnx_opset_version()
    if max(versions) > latest:
        raise OnnxError(f"opset: {max(versions)} is not known here; at most {latest} is allowed")
    if model.training_info:
        raise OnnxError("the file holds a training graph; an exported inference graph is needed")
    if model.graph.sparse_initializer:
        raise OnnxError("sparse tensors are not supported; dense ones are")
    counts = (len(model.graph.node), MOST_NODES, "nodes"), (len(model.graph.initializer), MOST_TENSORS, "tensors")
    for count, most, what in counts:
        if count > most:
            raise OnnxError(f"the file has {count:,} {what}; at most {most:,} are allowed")
    if not model.graph.output:
        raise OnnxError("the graph has no output")


def _check_functions(model: onnx.ModelProto) -> None:
    """Functions may call others, but not themselves, and not so many that the graph explodes."""
    functions = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], depth: int) -> int:
        if depth > 32:
            raise OnnxError(f"function {shortened(key[1])}: functions call each other in a circle, or too deeply")
        if key not in sizes:
            own = functions[key].node
            sizes[key] = sum(
                size((n.domain, n.op_type), depth + 1) if (n.domain, n.op_type) in functions else 1 for n in own
            )
            if sizes[key] > MOST_NODES:
                raise OnnxError(f"function {shortened(key[1])} stands for more than {MOST_NODES:,} nodes")
        return sizes[key]

    total = sum(size(key, 0) if (key := (n.domain, n.op_type)) in functions else 1 for n in model.graph.node)
    if total > MOST_NODES:
        raise OnnxError(f"the file's functions stand for {total:,} nodes; at most {MOST_NODES:,} are allowed")


def _check_tensor(tensor: TensorProto) -> None:
    """Its data must be as long as its shape says, so that nothing larger than the file is ever made of it."""
    name = shortened(tensor.name)
    if tensor.data_type not in _NUMERIC:
        raise OnnxError(f"tensor {name}: its type {tensor.data_type} is not supported; floats and whole numbers are")
    dims = list(tensor.dims)
    if len(dims) > MOST_DIMENSIONS or any(d < 0 for d in dims):
        raise OnnxError(f"tensor {name}: its shape {dims[:8]} is not allowed")
    count, width = math.prod(dims), np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    if tensor.HasField("raw_data"):
        held, wanted, what = len(tensor.raw_data), count * width, "bytes"
    else:
        held, wanted, what = len(getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data"))), count, "values"
    if held != wanted or count * width > LARGEST_FILE:
        shape = "x".join(map(str, dims)) or "a single number"
        raise OnnxError(f"tensor {name}: its shape {shape} needs {wanted:,} {what}, the file holds {held:,}")


def _check_node(node: onnx.NodeProto) -> None:
    if not all(isinstance(text, str) for text in (node.name, node.op_type, node.domain, *node.input, *node.output)):
        raise OnnxError("the file is damaged: a node's name is no text")
    name = node.name or next(iter(node.output), node.op_type)
    if node.domain not in STANDARD:
        allowed = "the standard operators of ONNX alone are supported"
        raise NodeError(name, f"{node.domain}::{node.op_type}", f"custom operators are not supported; {allowed}")
    if node.op_type != "Constant" and not is_known(node.op_type):
        raise NodeError(name, node.op_type, why_not(node.op_type))
    if any(attribute.type in _SUBGRAPHS for attribute in node.attribute):
        raise NodeError(name, node.op_type, "graphs within nodes are not supported")
    if not any(node.output):
        raise NodeError(name, node.op_type, "it has no output")
