"""Whether a graph computes what the model does: on real samples, layer by layer where it does not."""

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, RuntimeException
from torch import Tensor, nn

from compression.artifact.graph.blocks import DOMAIN, OPERATOR
from compression.artifact.graph.execution import open_session
from compression.artifact.graph.exporting import INPUT, OUTPUT
from compression.artifact.graph.quantize import Grid, layer_nodes
from compression.artifact.graph.weights import SYMBOLS
from compression.calibration.batches import batch_for
from compression.core.errors import GraphError
from compression.layers import is_linear, weight_layers

OrtError = (Fail, InvalidArgument, InvalidGraph, RuntimeException)
_FLOAT, _HALF, _FLOOR = 2e-3, 5e-2, 1e-5
_STEPS = 1.01  # a half by rounding, a half by float and integer sums that fall on different sides of a tie
_INT8 = 127
_SAMPLES, _FEWEST = 8, 2


def checked_samples(inputs: Tensor) -> Tensor:
    """The inputs that a graph is checked on: eight, fewer large ones, evenly spread over (N, ...)."""
    count = max(_FEWEST, batch_for(inputs.shape[1:], _SAMPLES))
    return inputs[:: max(1, len(inputs) // count)][:count].contiguous()


@dataclass(frozen=True)
class Reference:
    """A model and what it makes of samples.

    Attributes:
        model: In eval mode.
        samples: Prepared inputs (N, ...).
        output: The model's output, (N, ...).
    """

    model: nn.Module
    samples: Tensor
    output: np.ndarray

    def agrees(self, proto: onnx.ModelProto) -> bool:
        """Whether a float graph's output is the model's, within float rounding."""
        try:
            found = open_session(proto).run([OUTPUT], {INPUT: self.samples.numpy()})[0]
        except OrtError:
            return False
        return _close(found, self.output, _FLOAT)


@torch.inference_mode()
def reference(model: nn.Module, samples: Tensor) -> Reference:
    """Run a model on samples."""
    return Reference(model, samples, model(samples).numpy())


def _close(found: np.ndarray, wanted: np.ndarray, relative: float) -> bool:
    """Whether two outputs are equal up to a share of the largest value; what is not finite has to be so in both."""
    sound = np.isfinite(wanted)
    if found.shape != wanted.shape or not np.array_equal(sound, np.isfinite(found)):
        return False
    wanted, found = wanted[sound].astype(np.float64), found[sound].astype(np.float64)
    if not wanted.size:
        return True
    return bool(np.abs(found - wanted).max() <= relative * np.abs(wanted).max() + _FLOOR)


def check_half_graph(proto: onnx.ModelProto, wanted: Reference) -> None:
    """Compare a graph that computes in float16.

    Raises:
        GraphError: if it differs by more than rounding to 16 bits explains.
    """
    found = open_session(proto).run([OUTPUT], {INPUT: wanted.samples.numpy()})[0]
    if not _close(found, wanted.output, _HALF):
        raise GraphError("the float16 graph", "its output", "values beyond the range of float16 are likely")


def first_difference(proto: onnx.ModelProto, wanted: Reference) -> str:
    """The first layer whose output in a float graph is not the model's; of a graph without folded batch norms."""
    seen: dict[str, np.ndarray] = {}
    handles = []
    for fqn, layer in weight_layers(wanted.model):

        def after(module: nn.Module, args: tuple[Tensor, ...], output: Tensor, fqn: str = fqn) -> None:
            seen.setdefault(fqn, output.numpy())

        handles.append(layer.register_forward_hook(after))
    try:
        with torch.inference_mode():
            wanted.model(wanted.samples)
    finally:
        for handle in handles:
            handle.remove()
    found_nodes = layer_nodes(proto.graph, list(seen))
    nodes = {fqn: _with_bias(proto.graph, node, f"{fqn}.bias") for fqn, node in found_nodes.items()}
    try:
        found = _run_with(proto, list(nodes.values()), {INPUT: wanted.samples.numpy()})
    except OrtError as error:
        return " ".join(str(error).split())[:160]
    for fqn, value in seen.items():
        if fqn in nodes and not _close(found[nodes[fqn]], value, _FLOAT):
            return fqn
    return "what follows the last layer"


def _with_bias(graph: onnx.GraphProto, node: onnx.NodeProto, bias: str) -> str:
    """Name of a layer's output, that behind the addition of its bias where that is a node of its own."""
    added = (user for user in graph.node if user.op_type == "Add" and {node.output[0], bias} == set(user.input))
    return next((user.output[0] for user in added), node.output[0])


def _run_with(proto: onnx.ModelProto, values: list[str], feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a graph and give some of its inner values beside its output."""
    wider = onnx.ModelProto()
    wider.CopyFrom(proto)
    names = list(dict.fromkeys([*values, OUTPUT]))
    wider.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name != OUTPUT)
    return dict(zip(names, open_session(wider).run(names, feeds), strict=True))


def check_integer_graph(
    proto: onnx.ModelProto, filled: onnx.ModelProto, grids: dict[str, Grid], wanted: Reference
) -> None:
    """Compare a graph of integer kernels with the float graph, whose activations are rounded in its place.

    Every stretch between quantized values is compared by itself: the float graph gets the integers that the kernels
    made, and what it makes of them has to round to the integers that follow, up to one step. Errors therefore do not
    add up, and the first stretch that differs names its layer.

    Args:
        proto: The written graph.
        filled: The float graph, which computes what the model does.
        grids: ``value -> (scale, zero point, bits)``.
        wanted: The model and its samples.

    Raises:
        GraphError: naming the first layer that differs.
    """
    feeds, names = {INPUT: wanted.samples.numpy()}, list(grids)
    made = _run_with(proto, [f"{name}.q" for name in names], feeds)
    given = {
        name: (made[f"{name}.q"].astype(np.float32) - zero) * np.float32(scale)
        for name, (scale, zero, _) in grids.items()
    }
    simulated = _simulation(proto, filled, names)
    inner = [name for name in names if name != INPUT]
    found = _run_with(simulated, inner, feeds | {_given(name): value for name, value in given.items()})
    for name in [*inner, OUTPUT]:
        if name == OUTPUT:
            same = _close(made[OUTPUT], found[OUTPUT], _FLOAT)
        else:
            scale, zero, _ = grids[name]
            exact = np.clip(found[name], -zero * scale, (255 - zero) * scale)
            most = _STEPS * scale + _FLOAT * float(np.abs(exact).max(initial=0))
            same = exact.shape == given[name].shape and float(np.abs(exact - given[name]).max(initial=0)) <= most
        if not same:
            raise GraphError("the integer graph", _layer_before(filled.graph, name), "its weights or kernels differ")


def _given(name: str) -> str:
    return f"{name}.given"


def _simulation(proto: onnx.ModelProto, filled: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """The float graph with biases as the integer graph has them, its quantized values read from inputs."""
    simulated = onnx.ModelProto()
    simulated.CopyFrom(filled)
    graph, quantized = simulated.graph, set(names)
    read = {node.output[0]: set(node.input) for node in proto.graph.node}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in quantized and f"{name}.dq" in read.get(node.output[0], ()):
                node.input[index] = _given(name)
    held = {tensor.name: tensor for tensor in proto.graph.initializer}
    _expand_half(graph, {name.removesuffix(SYMBOLS) for name in held if name.endswith(f".bias{SYMBOLS}")})
    for tensor in graph.initializer:
        symbols, scale = held.get(f"{tensor.name}{SYMBOLS}"), held.get(f"{tensor.name}.scale")
        if tensor.name.endswith(".bias") and symbols is not None and scale is not None:
            step, bias = numpy_helper.to_array(scale), numpy_helper.to_array(tensor)
            rounded = numpy_helper.to_array(symbols).astype(np.float64) * step
            if (np.abs(rounded - bias) > 0.51 * step + _FLOAT * np.abs(bias)).any():
                raise GraphError("the integer graph", tensor.name, "its bias does not fit 32 bits")
            tensor.CopyFrom(numpy_helper.from_array(rounded.astype(np.float32), tensor.name))
    graph.input.extend(helper.make_tensor_value_info(_given(name), TensorProto.FLOAT, None) for name in names)
    return simulated


def _expand_half(graph: onnx.GraphProto, names: set[str]) -> None:
    """Hold tensors that are stored in 16 bits by their values in float32, in place."""
    held = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.output[0] in names]:
        value = numpy_helper.to_array(held[node.input[0]]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        graph.node.remove(node)


def _layer_before(graph: onnx.GraphProto, value: str) -> str:
    """The layer whose product is nearest in front of a value."""
    producer = {name: node for node in graph.node for name in node.output}
    waiting, seen = [value], set()
    while waiting:
        node = producer.get(waiting.pop(0))
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        weight = node.input[1] if len(node.input) > 1 and node.op_type in ("Conv", "MatMul", "Gemm") else ""
        if weight.endswith(".weight"):
            return weight.removesuffix(".weight")
        waiting += node.input
    return value


def check_block_graph(proto: onnx.ModelProto, wanted: Reference) -> None:
    """Compare each product of packed weights with the model's layer on the activations that it gets.

    Raises:
        GraphError: naming the first layer that differs by more than rounding the activations of each block to 8 bits.
    """
    layers = {f"{fqn}.weight": (fqn, layer) for fqn, layer in weight_layers(wanted.model) if is_linear(layer)}
    nodes = [node for node in proto.graph.node if (node.domain, node.op_type) == (DOMAIN, OPERATOR)]
    values = [name for node in nodes for name in (node.input[0], node.output[0])]
    inner = [name for name in dict.fromkeys(values) if name not in (INPUT, OUTPUT)]
    found = {INPUT: wanted.samples.numpy()} | _run_with(proto, inner, {INPUT: wanted.samples.numpy()})
    for node in nodes:
        fqn, layer = layers[node.input[1].rpartition(".")[0]]
        block = next(attribute.i for attribute in node.attribute if attribute.name == "block_size")
        x, made = torch.from_numpy(found[node.input[0]]), found[node.output[0]]
        weight = layer.weight.detach()
        exact = x @ weight.t()
        if len(node.input) > 5 and layer.bias is not None:
            exact = exact + layer.bias.detach()
        most = 0.51 / _INT8 * _by_block(x, block).amax(-1) @ _by_block(weight, block).sum(-1).t()
        most = most + _FLOAT * exact.abs().max() + _FLOOR
        if made.shape != tuple(exact.shape) or bool((torch.from_numpy(made) - exact).abs().gt(most).any()):
            raise GraphError("the graph with packed weights", fqn, "its weights or kernels differ")


def _by_block(values: Tensor, block: int) -> Tensor:
    """Sizes of the last axis in blocks, (..., blocks, block), the last one filled up with zeros."""
    odd = -values.shape[-1] % block
    return torch.nn.functional.pad(values.abs(), (0, odd)).unflatten(-1, (-1, block))
