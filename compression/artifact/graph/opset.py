"""The lowest opset that holds a graph's operators, so that older versions of ONNX Runtime load it."""

from functools import lru_cache

import onnx
from onnx import TensorProto, defs, helper

LOWEST = 13
_LINEAR_4BITS, _LINEAR_8BITS = "1.17", "1.22"  # kernels of MatMulNBits
_TRIANGLE, _CAST_4BITS = "1.19", "1.23"  # kernels of Trilu for bool, and of Cast from 4-bit numbers
# Versions at which an operator means something else although its node looks the same.
_OTHER_MEANING = {("GridSample", 20), ("GroupNormalization", 21), ("AveragePool", 19)}
# The first version of ONNX Runtime that loads an opset: https://onnxruntime.ai/docs/reference/compatibility.html
_RUNTIMES = {
    13: "1.7", 14: "1.8", 15: "1.9", 16: "1.11", 17: "1.12", 18: "1.14", 19: "1.15", 20: "1.17", 21: "1.18", 22: "1.20",
    23: "1.22",
}


def lower_opset(proto: onnx.ModelProto) -> None:
    """Declare the lowest opset, at least 13, under which every node means the same, and its IR version.

    Attributes that a lower opset lacks are dropped where they have their default value. Graphs with control flow or
    functions keep theirs.

    Args:
        proto: The graph; changed in place.
    """
    opset = model_opset(proto)
    if proto.functions or any(a.HasField("g") or a.graphs for node in proto.graph.node for a in node.attribute):
        return
    types = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    nodes = [node for node in proto.graph.node if not node.domain]
    wanted = max([LOWEST, *(_lowest(node, opset, types) for node in nodes)])
    for node in nodes:
        known = _schema(node.op_type, wanted).attributes
        kept = [attribute for attribute in node.attribute if attribute.name in known]
        del node.attribute[:]
        node.attribute.extend(kept)
    for entry in proto.opset_import:
        if not entry.domain:
            entry.version = wanted
    proto.ir_version = helper.find_min_ir_version_for(proto.opset_import, ignore_unknown=True)


def model_opset(proto: onnx.ModelProto) -> int:
    """Version of the standard operators that a graph declares."""
    return next(entry.version for entry in proto.opset_import if not entry.domain)


def least_runtime(proto: onnx.ModelProto) -> str:
    """The first version of ONNX Runtime that knows a graph's opset and has kernels for its operators."""
    found = [_RUNTIMES[min(max(model_opset(proto), LOWEST), max(_RUNTIMES))]]
    small = {t.name for t in proto.graph.initializer if t.data_type in (TensorProto.INT4, TensorProto.UINT4)}
    for node in proto.graph.node:
        if node.op_type == "MatMulNBits":
            bits = next((attribute.i for attribute in node.attribute if attribute.name == "bits"), 4)
            found.append(_LINEAR_8BITS if bits == 8 else _LINEAR_4BITS)
        elif node.op_type == "Trilu":
            found.append(_TRIANGLE)
        elif node.op_type == "Cast" and node.input[0] in small:
            found.append(_CAST_4BITS)
    return max(found, key=lambda version: tuple(map(int, version.split("."))))


@lru_cache(maxsize=1024)
def _schema(operator: str, version: int) -> defs.OpSchema:
    return defs.get_schema(operator, max_inclusive_version=version)


def _lowest(node: onnx.NodeProto, opset: int, types: dict[str, int]) -> int:
    """The lowest opset under which one node is valid and means the same."""
    version = opset
    while version > LOWEST:
        schema = _schema(node.op_type, version)
        since = schema.since_version
        if since <= LOWEST:
            return LOWEST
        if (node.op_type, since) in _OTHER_MEANING or not defs.has(node.op_type, max_inclusive_version=since - 1):
            return since
        if not _valid(node, schema, _schema(node.op_type, since - 1), types):
            return since
        version = since - 1
    return LOWEST


def _valid(node: onnx.NodeProto, schema: defs.OpSchema, earlier: defs.OpSchema, types: dict[str, int]) -> bool:
    """Whether a node fits an earlier version of its operator: attributes, inputs, outputs and types of constants."""
    fits = earlier.min_input <= len(node.input) <= earlier.max_input and len(node.output) <= earlier.max_output
    if not fits:
        return False
    if not all(attribute.name in earlier.attributes or _is_default(attribute, schema) for attribute in node.attribute):
        return False
    allowed = {constraint.type_param_str: set(constraint.allowed_type_strs) for constraint in earlier.type_constraints}
    for number, name in enumerate(node.input):
        if name in types:
            formal = earlier.inputs[min(number, len(earlier.inputs) - 1)]
            if _type_name(types[name]) not in allowed.get(formal.type_str, {formal.type_str}):
                return False
    return not any(a.HasField("t") and _is_new(a.t.data_type) for a in node.attribute)


def _is_default(attribute: onnx.AttributeProto, schema: defs.OpSchema) -> bool:
    default = schema.attributes[attribute.name].default_value if attribute.name in schema.attributes else None
    return default is not None and default.type == attribute.type and (
        helper.get_attribute_value(default) == helper.get_attribute_value(attribute)
    )


def _type_name(data_type: int) -> str:
    return f"tensor({TensorProto.DataType.Name(data_type).lower()})"


def _is_new(data_type: int) -> bool:
    """Whether a constant is of a type that opset 13 lacks."""
    return data_type > TensorProto.BFLOAT16
