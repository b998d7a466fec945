"""Which kernel executes each layer, read from the graph that ONNX Runtime has optimized for this CPU."""

import json
from pathlib import Path

import onnx
from onnx import TensorProto

from compression.artifact.graph.blocks import DOMAIN, OPERATOR, PACKED
from compression.artifact.graph.execution import optimized_graph
from compression.artifact.graph.template import write_atomically

_INTEGER = {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulInteger", "MatMulIntegerToFloat", "ConvInteger",
            "DynamicQuantizeMatMul"}


def integer_layers(proto: onnx.ModelProto, key: str, cache_dir: Path | None) -> dict[str, str]:
    """Layers that run on integer kernels here: by fqn "int8", or "int4" where the kernel reads 4-bit weights.

    Args:
        proto: The written graph.
        key: Structure key of the graph; the answer is kept by it.
        cache_dir: Where.
    """
    quantized = any(t.data_type == TensorProto.INT8 and t.name.endswith(".zero") for t in proto.graph.initializer)
    if not quantized and not any(node.op_type == OPERATOR for node in proto.graph.node):
        return {}
    path = None if cache_dir is None else cache_dir / "layer_kernels" / f"{key}.json"
    if path is not None and path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    found = _read(optimized_graph(proto))
    if path is not None:
        write_atomically(path, json.dumps(found, sort_keys=True).encode())
    return found


def _read(optimized: onnx.ModelProto) -> dict[str, str]:
    found = {}
    for node in optimized.graph.node:
        if node.op_type in _INTEGER:
            suffix, kernel = ".weight.symbols", "int8"
        elif (node.domain, node.op_type) == (DOMAIN, OPERATOR):
            bits = next(attribute.i for attribute in node.attribute if attribute.name == "bits")
            suffix, kernel = f".weight{PACKED}", f"int{bits}"
        else:
            continue
        found.update({name.removesuffix(suffix): kernel for name in node.input if name.endswith(suffix)})
    return found
