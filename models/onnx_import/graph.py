"""An ONNX graph as plain Python: nodes with plain attributes, constants as arrays."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper

from models.onnx_import.errors import NodeError, OnnxError, shortened

Shape = tuple[int | str | None, ...]
_CONSTANT_FIELDS = {
    "value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64,
}


@dataclass
class Node:
    """One node.

    Attributes:
        name: Its name, or that of its first output.
        operator: Its operator.
        inputs: Names of values; "" where an optional one is missing.
        outputs: Names of values; "" where an optional one is not wanted.
        attributes: Plain Python values, arrays for tensors.
        scope: Name of the module that an exporter wrote beside it; "" where it wrote none.
    """

    name: str
    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    scope: str = ""


@dataclass
class GraphInput:
    """One input: its name, its shape (names or None where it is open) and its type as numpy writes it."""

    name: str
    shape: Shape
    dtype: str


@dataclass
class Graph:
    """A graph.

    Attributes:
        opset: Version of the standard operators.
        nodes: In an order in which they can be computed.
        constants: Arrays by name.
        inputs: What has to be given.
        outputs: Names of the results, in the file's order.
    """

    opset: int
    nodes: list[Node]
    constants: dict[str, np.ndarray]
    inputs: list[GraphInput]
    outputs: list[str]

    def producers(self) -> dict[str, Node]:
        """Node by the name of what it makes."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    def readers(self) -> dict[str, list[Node]]:
        """Nodes by the name of what they read; one that reads it twice stands twice."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found

    def drop_unread(self) -> None:
        """Remove nodes whose results nobody reads."""
        wanted, producers = set(self.outputs), self.producers()
        waiting = deque(wanted)
        while waiting:
            node = producers.get(waiting.popleft())
            for name in node.inputs if node is not None else ():
                if name not in wanted:
                    wanted.add(name)
                    waiting.append(name)
        self.nodes = [node for node in self.nodes if any(name in wanted for name in node.outputs)]


def graph_of(model: onnx.ModelProto) -> Graph:
    """Plain form of a checked file.

    Raises:
        OnnxError: if nodes form a cycle, a value is made twice, or read and never made.
    """
    proto = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.initializer}
    nodes = []
    for own in proto.node:
        if own.op_type == "Constant":
            constants[own.output[0]] = _constant(own)
        else:
            nodes.append(_node(own))
    nodes = _without_copies(nodes, constants)
    inputs = [_input(value) for value in proto.input if value.name not in constants]
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    known = [*constants, *(value.name for value in inputs)]
    return Graph(opset, _ordered(nodes, known), constants, inputs, [value.name for value in proto.output])


def _without_copies(nodes: list[Node], constants: dict[str, np.ndarray]) -> list[Node]:
    """Nodes that only give a constant another name are left out, and the constant itself is read."""
    original: dict[str, str] = {}
    kept = []
    for node in nodes:
        node.inputs = [original.get(name, name) for name in node.inputs]
        if node.operator == "Identity" and node.inputs[0] in constants:
            original[node.outputs[0]] = node.inputs[0]
        else:
            kept.append(node)
    return kept


def _node(own: onnx.NodeProto) -> Node:
    attributes = {a.name: _plain(a) for a in own.attribute}
    name = own.name or next((output for output in own.output if output), own.op_type)
    return Node(name, own.op_type, list(own.input), list(own.output), attributes, _scope(own))


def _plain(attribute: AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return list(value) if attribute.type in (AttributeProto.INTS, AttributeProto.FLOATS) else value


def _constant(own: onnx.NodeProto) -> np.ndarray:
    for attribute in own.attribute:
        value = _plain(attribute)
        if attribute.name == "value" and isinstance(value, np.ndarray):
            return value
        if attribute.name in _CONSTANT_FIELDS:
            return np.array(value, dtype=_CONSTANT_FIELDS[attribute.name])
    raise NodeError(own.name or "".join(own.output[:1]), "Constant", "a tensor or numbers are needed as its value")


def _scope(own: onnx.NodeProto) -> str:
    """The module that PyTorch's exporters name: in the metadata, or in the path of a node's name."""
    for entry in own.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            scopes = [part.strip(" '\"") for part in entry.value.strip("[]").split(",")]
            return scopes[-2] if len(scopes) > 1 else ""
    parts = own.name.strip("/").split("/")[:-1] if own.name.startswith("/") else []
    kept: list[str] = []
    for part in parts:  # an item of a list repeats the list's name: /features/features.1/features.1.0
        if kept and part.startswith(f"{kept[-1]}."):
            kept.pop()
        kept.append(part)
    return ".".join(kept)


def _input(value: onnx.ValueInfoProto) -> GraphInput:
    tensor = value.type.tensor_type
    if value.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
        raise OnnxError(f"input {shortened(value.name)}: a tensor with a declared shape is needed")
    shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim)
    return GraphInput(value.name, shape, str(helper.tensor_dtype_to_np_dtype(tensor.elem_type)))


def _ordered(nodes: list[Node], known: Iterable[str]) -> list[Node]:
    """Nodes in an order in which they can be computed; the file's own order is kept as far as possible."""
    made = set(known)
    producer: dict[str, int] = {}
    for number, node in enumerate(nodes):
        for name in filter(None, node.outputs):
            if name in made or name in producer:
                raise NodeError(node.name, node.operator, f"its output {shortened(name)} is made twice")
            producer[name] = number
    open_inputs, readers = [0] * len(nodes), {}
    for number, node in enumerate(nodes):
        for name in {name for name in node.inputs if name and name not in made}:
            if name not in producer:
                raise NodeError(node.name, node.operator, f"it reads {shortened(name)}, which is never made")
            open_inputs[number] += 1
            readers.setdefault(producer[name], []).append(number)
    ready = deque(number for number, count in enumerate(open_inputs) if count == 0)
    ordered = []
    while ready:
        number = ready.popleft()
        ordered.append(nodes[number])
        for reader in readers.get(number, ()):
            open_inputs[reader] -= 1
            if open_inputs[reader] == 0:
                ready.append(reader)
    if len(ordered) < len(nodes):
        node = next(n for n, count in zip(nodes, open_inputs, strict=True) if count)
        raise NodeError(node.name, node.operator, "it is part of a cycle; a graph without cycles is needed")
    return ordered
