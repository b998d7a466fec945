"""Small edits on ONNX graphs."""

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 21
_IR_VERSION = 10


class GraphEditor:
    """Collects new initializers and nodes and puts them in front of a graph's own.

    Args:
        proto: The model; changed in place by `finish`.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = proto
        self._front: list[onnx.NodeProto] = []
        self._tensors: list[onnx.TensorProto] = []
        self._replaced: set[str] = set()

    def initializer_names(self) -> list[str]:
        """Names of the graph's own initializers."""
        return [t.name for t in self.proto.graph.initializer]

    def replace(self, name: str) -> None:
        """Drop the graph's own initializer of that name; something new of that name takes its place."""
        self._replaced.add(name)

    def add_tensor(self, name: str, values: np.ndarray) -> str:
        """New initializer; returns its name."""
        self._tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add_symbols(self, name: str, symbols: np.ndarray, bits: int) -> str:
        """Signed whole numbers, as 4-bit values where they fit, else 8- or 16-bit ones."""
        low, high = (int(symbols.min()), int(symbols.max())) if symbols.size else (0, 0)
        kind: type = np.int16 if low < -128 or high > 127 else np.int8
        if bits <= 4 and low >= -8 and high <= 7:
            kind = ml_dtypes.int4
        return self.add_tensor(name, symbols.astype(kind))

    def add_node(self, op: str, inputs: list[str], output: str, **attributes: object) -> str:
        """New node in front of the graph's own; returns its output."""
        self._front.append(helper.make_node(op, inputs, [output], name=f"{op}:{output}", **attributes))
        return output

    def cast_to_float(self, source: str, output: str) -> str:
        """Cast to float32."""
        return self.add_node("Cast", [source], output, to=TensorProto.FLOAT)

    def finish(self) -> onnx.ModelProto:
        """Apply everything and return the model."""
        graph = self.proto.graph
        nodes, kept = list(graph.node), [t for t in graph.initializer if t.name not in self._replaced]
        del graph.node[:], graph.initializer[:]
        graph.initializer.extend([*kept, *self._tensors])
        graph.node.extend([*self._front, *nodes])
        del self.proto.opset_import[:]
        self.proto.opset_import.append(helper.make_opsetid("", OPSET))
        self.proto.ir_version = _IR_VERSION
        return self.proto
