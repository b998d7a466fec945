"""Split layers in a graph that was exported with whole ones."""

import onnx
from onnx import helper
from torch import nn

from compression.artifact.graph.quantize import layer_nodes
from compression.structure.factorized import FactorizedConv2d, factorized_layers


def split_layers(graph: onnx.GraphProto, model: nn.Module) -> None:
    """Replace the node of each layer that the model has split by two, in place; the weights' names follow."""
    split = factorized_layers(model)
    nodes = layer_nodes(graph, list(split))
    ordered: list[onnx.NodeProto] = []
    by_output = {node.output[0]: fqn for fqn, node in nodes.items()}
    for node in graph.node:
        fqn = by_output.get(node.output[0])
        ordered += [node] if fqn is None else _two_nodes(node, fqn, isinstance(split[fqn], FactorizedConv2d))
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(kept)
    for tensor in graph.initializer:
        for fqn in nodes:
            if tensor.name in (f"{fqn}.weight", f"{fqn}.bias"):
                tensor.name = f"{fqn}.1.{tensor.name.removeprefix(fqn + '.')}"
    for fqn in nodes:
        spare = onnx.TensorProto(name=f"{fqn}.0.weight", data_type=onnx.TensorProto.FLOAT, dims=[0])
        graph.initializer.append(spare)


def _two_nodes(node: onnx.NodeProto, fqn: str, convolution: bool) -> list[onnx.NodeProto]:
    middle = f"{fqn}.0.output"
    first = onnx.NodeProto.FromString(node.SerializeToString())
    first.op_type = node.op_type if convolution else "MatMul"
    del first.input[:], first.output[:]
    first.input.extend([node.input[0], f"{fqn}.0.weight"])
    first.output.append(middle)
    first.name = f"{node.name}.0"
    if not convolution:
        del first.attribute[:]
    rest = [name.replace(f"{fqn}.", f"{fqn}.1.") if name.startswith(f"{fqn}.") else name for name in node.input[1:]]
    attributes = {"kernel_shape": [1, 1]} if convolution else {}
    second = helper.make_node(node.op_type, [middle, *rest], list(node.output), name=f"{node.name}.1", **attributes)
    return [first, second]
