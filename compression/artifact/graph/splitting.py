"""Split layers in a graph that was exported with whole ones."""

import onnx
from onnx import helper
from torch import nn

from compression.artifact.graph.quantize import layer_nodes
from compression.structure.factorized import FactorizedLinear, factorized_layers


def split_layers(graph: onnx.GraphProto, model: nn.Module) -> None:
    """Replace the node of each layer that the model has split by its parts', in place; the weights' names follow."""
    split = factorized_layers(model)
    nodes = layer_nodes(graph, list(split))
    ordered: list[onnx.NodeProto] = []
    by_output = {node.output[0]: fqn for fqn, node in nodes.items()}
    for node in graph.node:
        fqn = by_output.get(node.output[0])
        ordered += [node] if fqn is None else _parts(node, fqn, split[fqn])
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(kept)
    for tensor in graph.initializer:
        for fqn in nodes:
            if tensor.name in (f"{fqn}.weight", f"{fqn}.bias"):
                tensor.name = f"{fqn}.{len(split[fqn]) - 1}.{tensor.name.removeprefix(fqn + '.')}"
    for fqn in nodes:
        for part in range(len(split[fqn]) - 1):
            spare = onnx.TensorProto(name=f"{fqn}.{part}.weight", data_type=onnx.TensorProto.FLOAT, dims=[0])
            graph.initializer.append(spare)


def _parts(node: onnx.NodeProto, fqn: str, layer: nn.Sequential) -> list[onnx.NodeProto]:
    """Nodes of a split layer: the part before the last has the kernel's attributes, the last one the bias."""
    convolution, last = not isinstance(layer, FactorizedLinear), len(layer) - 1
    made, value = [], node.input[0]
    for part in range(last):
        own = onnx.NodeProto.FromString(node.SerializeToString())
        own.op_type = node.op_type if convolution else "MatMul"
        own.name = f"{node.name}.{part}"
        del own.input[:], own.output[:]
        own.input.extend([value, f"{fqn}.{part}.weight"])
        value = f"{fqn}.{part}.output"
        own.output.append(value)
        if not convolution:
            del own.attribute[:]
        elif part < last - 1:
            del own.attribute[:]
            own.attribute.append(helper.make_attribute("kernel_shape", [1, 1]))
        made.append(own)
    own_name = f"{fqn}."
    rest = [name.replace(own_name, f"{fqn}.{last}.") if name.startswith(own_name) else name for name in node.input[1:]]
    attributes = {"kernel_shape": [1, 1]} if convolution else {}
    made.append(helper.make_node(
        node.op_type, [value, *rest], list(node.output), name=f"{node.name}.{last}", **attributes
    ))
    return made
