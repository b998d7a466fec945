"""Quantize / dequantize pairs placed so that ONNX Runtime picks its int8 kernels.

Activations are uint8 with one scale per tensor, weights int8 with one scale per output channel. A convolution is
quantized on both sides (its fused kernel needs that), a matrix product on its input only, which costs less accuracy
and runs on an integer kernel too; a residual addition whose two inputs are quantized stays in integers.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compression.artifact.graph.integers import IntegerWeight, with_room_for_bias

Grid = tuple[float, int, int]
_CLIPPING = ("Relu", "Clip")
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass
class _Edges:
    producer: dict[str, onnx.NodeProto]
    consumers: dict[str, list[onnx.NodeProto]]


def _edges(graph: onnx.GraphProto) -> _Edges:
    producer = {name: node for node in graph.node for name in node.output}
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    return _Edges(producer, consumers)


def layer_nodes(graph: onnx.GraphProto, fqns: list[str]) -> dict[str, onnx.NodeProto]:
    """Nodes that multiply by a layer's weight, by the layer's fqn; a layer that is used twice is left out."""
    wanted = {f"{fqn}.weight": fqn for fqn in fqns}
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type in ("Conv", "MatMul", "Gemm") and node.input[1] in wanted:
            found.setdefault(wanted[node.input[1]], []).append(node)
    return {fqn: nodes[0] for fqn, nodes in found.items() if len(nodes) == 1}


def values_to_quantize(graph: onnx.GraphProto, fqns: list[str]) -> list[str]:
    """Names of the activations that get a grid, in graph order.

    Args:
        graph: The float graph.
        fqns: Layers with integer weights.
    """
    edges, outputs = _edges(graph), {v.name for v in graph.output}
    chosen: set[str] = set()
    for node in layer_nodes(graph, fqns).values():
        chosen.add(node.input[0])
        if node.op_type == "Conv":
            chosen.add(_after_clipping(node.output[0], edges, outputs))
    fixed = {t.name for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Add" and all(name in chosen and name not in fixed for name in node.input):
            chosen.add(_after_clipping(node.output[0], edges, outputs))
    order = [v.name for v in graph.input] + [name for node in graph.node for name in node.output]
    return [name for name in order if name in chosen and name not in outputs]


def _after_clipping(value: str, edges: _Edges, outputs: set[str]) -> str:
    """The value behind a ReLU that alone consumes this one: the integer kernel clips by its range."""
    users = edges.consumers.get(value, [])
    if len(users) == 1 and users[0].op_type in _CLIPPING and value not in outputs:
        return users[0].output[0]
    return value


def insert_grids(
    proto: onnx.ModelProto, weights: dict[str, IntegerWeight], biases: dict[str, np.ndarray], grids: dict[str, Grid]
) -> None:
    """Put the quantize / dequantize pairs and the integer weights into a graph, in place.

    Args:
        proto: The graph, its quantized layers' weights missing.
        weights: Integer weights by fqn.
        biases: float32 biases of convolutions and Gemm nodes by fqn, (C_out,).
        grids: ``value -> (scale, zero point, bits)``.
    """
    graph = proto.graph
    nodes, tensors, front = layer_nodes(graph, list(weights)), [], []
    inputs = {fqn: grids[nodes[fqn].input[0]][0] for fqn in biases}
    weights = weights | {fqn: with_room_for_bias(weights[fqn], biases[fqn], inputs[fqn]) for fqn in biases}
    for fqn, weight in weights.items():
        name = f"{fqn}.weight"
        tensors += _integer_tensors(name, weight)
        front.append(_dequantize(f"{name}.symbols", f"{name}.scale", f"{name}.zero", name, axis=weight.axis))
    for fqn, bias in biases.items():
        more, dequantize = _integer_bias(f"{fqn}.bias", bias, weights[fqn].scale * np.float32(inputs[fqn]))
        tensors += more
        front.append(dequantize)
    pairs: dict[str, list[onnx.NodeProto]] = {}
    for value, (scale, zero, _) in grids.items():
        tensors += [
            numpy_helper.from_array(np.float32(scale), f"{value}.scale"),
            numpy_helper.from_array(np.uint8(zero), f"{value}.zero"),
        ]
        pairs[value] = [
            helper.make_node("QuantizeLinear", [value, f"{value}.scale", f"{value}.zero"], [f"{value}.q"],
                             name=f"Quantize:{value}"),
            _dequantize(f"{value}.q", f"{value}.scale", f"{value}.zero", f"{value}.dq"),
        ]
    _rewire(graph, front, pairs, _float_products(graph, {f"{fqn}.weight" for fqn in weights}))
    gone = {f"{fqn}.weight" for fqn in weights} | {node.output[0] for node in front}
    kept = [t for t in graph.initializer if t.name not in gone]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *tensors])


def _integer_tensors(name: str, weight: IntegerWeight) -> list[onnx.TensorProto]:
    return [
        numpy_helper.from_array(weight.symbols, f"{name}.symbols"),
        numpy_helper.from_array(weight.scale, f"{name}.scale"),
        numpy_helper.from_array(np.zeros(len(weight.scale), dtype=np.int8), f"{name}.zero"),
    ]


def _integer_bias(
    name: str, bias: np.ndarray, scale: np.ndarray
) -> tuple[list[onnx.TensorProto], onnx.NodeProto]:
    limit = np.iinfo(np.int32)
    symbols = np.clip(np.rint(bias.astype(np.float64) / scale), limit.min, limit.max).astype(np.int32)
    tensors = [
        numpy_helper.from_array(symbols, f"{name}.symbols"),
        numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale"),
        numpy_helper.from_array(np.zeros(len(scale), dtype=np.int32), f"{name}.zero"),
    ]
    return tensors, _dequantize(f"{name}.symbols", f"{name}.scale", f"{name}.zero", name, axis=0)


def _dequantize(source: str, scale: str, zero: str, output: str, **attributes: int) -> onnx.NodeProto:
    return helper.make_node(
        "DequantizeLinear", [source, scale, zero], [output], name=f"Dequantize:{output}", **attributes
    )


def _float_products(graph: onnx.GraphProto, quantized: set[str]) -> set[str]:
    """Outputs of products by a constant weight that stays in float.

    Between a dequantized input and a quantized output ONNX Runtime would round such a weight to 8 bits by itself.
    """
    constants = {tensor.name for tensor in graph.initializer}
    found = set()
    for node in graph.node:
        if node.op_type in _PRODUCTS and node.input[1] in constants and node.input[1] not in quantized:
            found.add(node.output[0])
        if node.input and all(name in constants or not name for name in node.input):
            constants.update(node.output)
    return found


def _rewire(
    graph: onnx.GraphProto, front: list[onnx.NodeProto], pairs: dict[str, list[onnx.NodeProto]], floats: set[str]
) -> None:
    """Every consumer of a quantized value but those of `floats` reads its dequantized form.

    Nodes stay in topological order.
    """
    own = list(graph.node)
    ordered = list(front)
    for value in graph.input:
        ordered += pairs.get(value.name, [])
    for node in own:
        for index, name in enumerate(node.input):
            if name in pairs and node.output[0] not in floats:
                node.input[index] = f"{name}.dq"
        ordered.append(node)
        for name in node.output:
            ordered += pairs.get(name, [])
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(kept)
