"""The lowest opset that holds a graph's operators: accepted by ONNX Runtime, with identical outputs and kernels."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compression.artifact.graph.execution import open_session, optimized_graph
from compression.artifact.graph.kernels import _read
from compression.artifact.graph.opset import least_runtime, lower_opset, model_opset
from compression.artifact.graph.template import _with_zeros

GRAPHS = sorted((Path(__file__).parents[2] / "models" / "graphs").glob("*.onnx"))


def filled(path: Path) -> onnx.ModelProto:
    """A shipped graph with random weights."""
    proto, generator = onnx.load(path), np.random.default_rng(0)
    held = {t.name for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT}
    _with_zeros(proto)
    for tensor in proto.graph.initializer:
        if tensor.name in held:
            values = numpy_helper.to_array(tensor)
            drawn = values + generator.uniform(0.01, 0.1, values.shape).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(drawn, tensor.name))
    return proto


def run(proto: onnx.ModelProto) -> np.ndarray:
    value = proto.graph.input[0].type.tensor_type
    shape = [2, *(d.dim_value for d in value.shape.dim[1:])]
    generator = np.random.default_rng(1)
    integer = value.elem_type == TensorProto.INT64
    batch = generator.integers(0, 90, shape) if integer else generator.standard_normal(shape).astype(np.float32)
    return open_session(proto).run(None, {"input": batch})[0]


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem[:6])
def test_shipped_graphs_compute_the_same_under_their_lowest_opset(path: Path) -> None:
    proto = filled(path)
    wanted, declared = run(proto), model_opset(proto)
    lower_opset(proto)
    onnx.checker.check_model(proto)
    assert model_opset(proto) <= declared and proto.ir_version == helper.find_min_ir_version_for(proto.opset_import)
    assert np.array_equal(run(proto), wanted)


def test_convolutions_alone_need_13_and_gelu_needs_20() -> None:
    def needed(*operators: str) -> int:
        nodes = [helper.make_node(op, [f"v{i}"], [f"v{i + 1}"]) for i, op in enumerate(operators)]
        values = [helper.make_tensor_value_info(f"v{i}", TensorProto.FLOAT, [1]) for i in (0, len(operators))]
        graph = helper.make_graph(nodes, "g", values[:1], values[1:])
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        lower_opset(proto)
        return model_opset(proto)

    assert needed("Relu", "Sigmoid", "Identity") == 13
    assert needed("Relu", "HardSwish") == 14 and needed("Gelu") == 20


def quantized(kind: int, block: bool = False) -> onnx.ModelProto:
    """A float output of quantized constants."""
    tensors = [
        helper.make_tensor("q", kind, [4], [1, 2, 3, 4]), numpy_helper.from_array(np.float32([0.5, 2]), "s"),
        helper.make_tensor("z", kind, [] if not block else [2], [0] if not block else [0, 0]),
    ]
    if not block:
        tensors[1] = numpy_helper.from_array(np.float32(0.5), "s")
    more = {"block_size": 2, "axis": 0} if block else {}
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], **more),
        helper.make_node("Add", ["input", "w"], ["o"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("input", "o")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize(
    ("kind", "block", "opset", "ir", "runtime"),
    [
        (TensorProto.INT8, False, 13, 7, "1.7"), (TensorProto.INT4, False, 21, 10, "1.18"),
        (TensorProto.INT8, True, 21, 10, "1.18"),
    ],
)
def test_types_and_attributes_of_a_later_version_keep_it(
    kind: int, block: bool, opset: int, ir: int, runtime: str
) -> None:
    proto = quantized(kind, block)
    wanted = run(proto)
    lower_opset(proto)
    assert (model_opset(proto), proto.ir_version, least_runtime(proto)) == (opset, ir, runtime)
    assert np.array_equal(run(proto), wanted)


def test_defaults_that_a_lower_version_lacks_are_dropped_and_others_kept() -> None:
    def reshape(allow_zero: int) -> onnx.ModelProto:
        shape = numpy_helper.from_array(np.array([-1, 2]), "shape")
        node = helper.make_node("Reshape", ["input", "shape"], ["o"], allowzero=allow_zero)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["a", "b"]) for name in ("input", "o")]
        graph = helper.make_graph([node], "g", values[:1], values[1:], [shape])
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        lower_opset(proto)
        return proto

    dropped, kept = reshape(0), reshape(1)
    assert model_opset(dropped) == 13 and not dropped.graph.node[0].attribute
    assert model_opset(kept) == 14 and kept.graph.node[0].attribute[0].i == 1


def test_integer_kernels_are_chosen_under_a_lower_opset_too() -> None:
    weights = np.random.default_rng(0).integers(-100, 100, (8, 3, 3, 3)).astype(np.int8)
    scalar = {"xs": np.float32(0.02), "xz": np.uint8(128), "os": np.float32(0.1), "oz": np.uint8(128)}
    tensors = [numpy_helper.from_array(weights, "conv.weight.symbols"), *(
        numpy_helper.from_array(np.asarray(value), name) for name, value in scalar.items()
    ), numpy_helper.from_array(np.full(8, 0.01, np.float32), "ws"), numpy_helper.from_array(np.zeros(8, np.int8), "wz")]
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "xs", "xz"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "xs", "xz"], ["x"]),
        helper.make_node("DequantizeLinear", ["conv.weight.symbols", "ws", "wz"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y"]), helper.make_node("QuantizeLinear", ["y", "os", "oz"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "os", "oz"], ["o"]),
    ]
    values = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8]),
        helper.make_tensor_value_info("o", TensorProto.FLOAT, ["batch", 8, 6, 6]),
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    wanted = run(proto)
    lower_opset(proto)
    assert model_opset(proto) == 13 and np.array_equal(run(proto), wanted)
    assert _read(optimized_graph(proto)) == {"conv": "int8"}
