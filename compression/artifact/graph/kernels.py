"""Which kernel executes each layer, read from the graph that ONNX Runtime has optimized for this CPU."""

import json
from pathlib import Path

import onnx
from onnx import TensorProto

from compression.artifact.graph.execution import optimized_graph
from compression.artifact.graph.template import write_atomically

_INTEGER = {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "ConvInteger",
            "DynamicQuantizeMatMul"}


def integer_layers(proto: onnx.ModelProto, key: str, cache_dir: Path | None) -> set[str]:
    """fqns of the layers that run on int8 kernels here.

    Args:
        proto: The written graph.
        key: Structure key of the graph; the answer is kept by it.
        cache_dir: Where.
    """
    if not any(t.data_type == TensorProto.INT8 and t.name.endswith(".zero") for t in proto.graph.initializer):
        return set()
    path = None if cache_dir is None else cache_dir / "kernels" / f"{key}.json"
    if path is not None and path.is_file():
        return set(json.loads(path.read_text(encoding="utf-8")))
    found = _read(optimized_graph(proto))
    if path is not None:
        write_atomically(path, json.dumps(sorted(found)).encode())
    return found


def _read(optimized: onnx.ModelProto) -> set[str]:
    suffix = ".weight.symbols"
    return {
        name.removesuffix(suffix)
        for node in optimized.graph.node
        if node.op_type in _INTEGER
        for name in node.input
        if name.endswith(suffix)
    }
