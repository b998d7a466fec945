"""Whether a written graph holds the weights of a model, each in the layout in which it lies there."""

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from compression.artifact.graph.blocks import held_blocks, unpacked_blocks
from compression.artifact.graph.lowering import Lowering, lowered_tensors, plan_lowering
from compression.artifact.graph.quantize import Grid
from compression.artifact.graph.sharing import held_tensors, moves
from compression.artifact.graph.weights import SYMBOLS
from compression.layers import weight_layers

_TOLERANCE, _HALF_TOLERANCE = 1e-5, 2e-3
_DAMAGED = (ValueError, TypeError, ArithmeticError, IndexError)  # shapes that do not fit together
Held = dict[str, onnx.TensorProto]


def differing_weights(
    model: nn.Module, proto: onnx.ModelProto, example_input: Tensor, grids: dict[str, Grid] | None = None
) -> tuple[int, list[str]]:
    """Compare every parameter and buffer that the graph holds with the model's, and its grids of activations.

    The layout is known, not guessed: batch norms that the graph does not hold are folded into the layers that the
    model's dataflow gives, and the second operand of a matrix product is (in, out).

    Args:
        model: With the weights that the graph should hold, in eval mode.
        proto: The graph.
        example_input: (1, ...).
        grids: ``value -> (scale, zero point, bits)`` of quantized activations.

    Returns:
        Number of compared tensors and grids, and the names of those that differ.
    """
    held, moved = held_tensors(proto.graph), moves(proto.graph)
    lowering = _as_written(plan_lowering(model, example_input), proto)
    compared, wrong = 0, []
    tensors = lowered_tensors(model, lowering)
    for name, wanted in tensors.items():
        same = _holds(name, wanted.numpy(), held, lowering)
        if same is None and name in moved and moved[name][0] in tensors:
            source, transposed = moved[name]
            equal = torch.equal(tensors[source].t() if transposed else tensors[source], wanted)
            same = equal and _holds(source, tensors[source].numpy(), held, lowering)
        compared += same is not None
        wrong += [name] if same is False else []
    layers = dict(weight_layers(model))
    for name, block in held_blocks(proto).items():
        layer = layers.get(name.removesuffix(".weight"))
        compared += 1
        try:
            same = layer is not None and np.array_equal(unpacked_blocks(block), layer.weight.detach().numpy())
        except _DAMAGED:
            same = False
        wrong += [] if same else [name]
    for name, grid in (grids or {}).items():
        compared += 1
        wrong += [] if _holds_grid(name, grid, held) else [name]
    return compared, wrong


def _as_written(planned: Lowering, proto: onnx.ModelProto) -> Lowering:
    """The part of a plan that a graph follows."""
    names = [tensor.name for tensor in proto.graph.initializer]
    folds = {
        fqn: fold for fqn, fold in planned.folds.items()
        if not any(name.startswith(f"{fold.norm}.") for name in names)
    }
    products = {node.input[1] for node in proto.graph.node if _reads_transposed(node)}
    return Lowering(folds, frozenset(fqn for fqn in planned.transposed if f"{fqn}.weight" in products))


def _reads_transposed(node: onnx.NodeProto) -> bool:
    """Whether a node's second operand is (in, out)."""
    flipped = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return node.op_type == "MatMul" or (node.op_type == "Gemm" and not flipped)


def _holds(name: str, wanted: np.ndarray, held: Held, lowering: Lowering) -> bool | None:
    """Whether the graph holds a tensor's values; None where it holds nothing of that name."""
    fqn, _, last = name.rpartition(".")
    transposed = last == "weight" and lowering.is_transposed(fqn)
    try:
        if name in held:
            return _close(numpy_helper.to_array(held[name]), wanted, held[name])
        if f"{name}.half" in held:
            half = held[f"{name}.half"]
            return _close(numpy_helper.to_array(half).astype(np.float32) * _scale(name, held, wanted), wanted, half)
        if f"{name}{SYMBOLS}" not in held:
            return None
        if last == "bias":
            step = numpy_helper.to_array(held[f"{name}.scale"])
            rounded = numpy_helper.to_array(held[f"{name}{SYMBOLS}"]).astype(np.float64) * step
            return bool((np.abs(rounded - wanted) <= 0.51 * step + _TOLERANCE * np.abs(wanted)).all())
        found = _decoded(name, wanted, held, transposed)
        return _close(found, wanted, held.get(f"{name}.scale"))
    except _DAMAGED:
        return False


def _decoded(name: str, wanted: np.ndarray, held: Held, transposed: bool) -> np.ndarray:
    """Values of symbols or codebook indices in the graph's layout."""
    symbols = numpy_helper.to_array(held[f"{name}{SYMBOLS}"])
    if f"{name}.codebook" in held:
        entries = numpy_helper.to_array(held[f"{name}.codebook"])[symbols.astype(np.int64)]
        return entries * _scale(name, held, wanted)
    if f"{name}.shape" not in held:
        scale = _scale(name, held, wanted, axis=1 if transposed else 0)
        return symbols.astype(np.float32) * scale
    whole = symbols.astype(np.float32) * numpy_helper.to_array(held[f"{name}.scale"])
    return whole.reshape(len(whole), -1).T if transposed else whole.reshape(wanted.shape)


def _scale(name: str, held: Held, wanted: np.ndarray, axis: int = 0) -> np.ndarray:
    """The scale of a weight, broadcastable to it; one per channel where it is a list of them."""
    if f"{name}.scale" not in held:
        return np.float32(1.0)  # type: ignore[return-value]
    scale = numpy_helper.to_array(held[f"{name}.scale"])
    if scale.ndim == 1 and scale.size > 1:
        return scale.reshape([-1 if dim == axis else 1 for dim in range(wanted.ndim)])
    return scale


def _close(found: np.ndarray, wanted: np.ndarray, stored: onnx.TensorProto | None) -> bool:
    half = stored is not None and stored.data_type in (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    tolerance = _HALF_TOLERANCE if half else _TOLERANCE
    if found.shape != wanted.shape:
        return False
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    largest = float(np.abs(wanted).max(initial=0))
    return bool(np.allclose(found, wanted, rtol=0, atol=tolerance * largest + 1e-12, equal_nan=True))


def _holds_grid(name: str, grid: Grid, held: Held) -> bool:
    scale, zero = held.get(f"{name}.scale"), held.get(f"{name}.zero")
    if scale is None or zero is None:
        return False
    stated = (float(numpy_helper.to_array(scale).reshape(-1)[0]), int(numpy_helper.to_array(zero).reshape(-1)[0]))
    return stated == (float(np.float32(grid[0])), grid[1])
