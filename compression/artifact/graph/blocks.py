"""Linear layers whose 4- or 8-bit weights stay packed while they are multiplied.

``com.microsoft::MatMulNBits`` of ONNX Runtime takes float activations and weights in blocks along the inputs, each
block with its own scale. At accuracy level 4 it rounds each block of activations to int8 as it comes and multiplies
in integers.
"""

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from compression.artifact.graph.quantize import layer_nodes
from compression.artifact.graph.weights import centered_symbols
from compression.grids import quantize_to_grid
from compression.layers import is_conv2d, weight_layers
from compression.state import Encoding, UniformGrid, state_of

OPERATOR, DOMAIN = "MatMulNBits", "com.microsoft"
PACKED = ".blocks"
_INTEGER_PRODUCT = 4
_BLOCKS = (16, 32, 64, 128, 256)
_SCALE_BYTES = 4


@dataclass(frozen=True)
class BlockWeight:
    """A linear weight as `MatMulNBits` reads it: ``scale * (q - zero)``, `zero` being the middle where not given.

    Attributes:
        packed: uint8 (out, blocks, block * bits / 8), the first value of a byte in its lowest bits.
        scale: float32 (out, blocks).
        zero: uint8 (out, ceil(blocks * bits / 8)), packed alike, or None.
        inputs: Inputs of the layer; the last block is filled up.
        bits: 4 or 8.
        block: Inputs per block.
    """

    packed: np.ndarray
    scale: np.ndarray
    zero: np.ndarray | None
    inputs: int
    bits: int
    block: int


def block_weights(model: nn.Module) -> tuple[dict[str, BlockWeight], dict[str, str]]:
    """Block form of each linear layer that has one; for all other layers, why not.

    Returns:
        ``fqn -> weight`` and ``fqn -> reason``.
    """
    state, found, reasons = state_of(model), {}, {}
    for fqn, layer in weight_layers(model):
        encoding = state.encodings.get(f"{fqn}.weight")
        reason = _obstacle(layer, encoding)
        if reason is None:
            assert isinstance(encoding, UniformGrid)
            weight = _block_weight(layer.weight.detach(), encoding)
            if weight is not None:
                found[fqn] = weight
                continue
            reason = "its zero points do not fit the kernel's"
        reasons[fqn] = reason
    return found, reasons


def _obstacle(layer: nn.Module, encoding: Encoding | None) -> str | None:
    if not isinstance(encoding, UniformGrid):
        return "its weights are not on a grid of at most 8 bits"
    if is_conv2d(layer):
        return (
            "the runtime has no 4-bit kernel for convolutions" if encoding.bits <= 4
            else "convolutions run on integer kernels with 8-bit activations only"
        )
    if encoding.group_size % _BLOCKS[0]:
        return f"groups of {encoding.group_size} inputs are no multiple of the kernel's smallest block, {_BLOCKS[0]}"
    return None


def _block_weight(weight: Tensor, grid: UniformGrid) -> BlockWeight | None:
    outputs, inputs = weight.shape
    bits = 4 if grid.bits <= 4 else 8
    block, middle = _block_size(inputs, grid.group_size, bits), 2 ** (bits - 1)
    blocks = -(-inputs // block)
    group_of = torch.arange(blocks) * block // grid.group_size if grid.group_size else torch.zeros(blocks).long()
    symbols, zero = centered_symbols(weight, grid) + middle, None
    if int(symbols.min()) < 0 or int(symbols.max()) > 2 * middle - 1:
        assert grid.zero_point is not None
        symbols, zero = quantize_to_grid(weight, grid), _per_block(grid.zero_point, outputs, group_of)
        if int(zero.min()) < 0 or int(zero.max()) > 2 * middle - 1:
            return None
    filled = torch.full((outputs, blocks * block), middle, dtype=torch.int32)
    filled[:, :inputs] = symbols
    return BlockWeight(
        packed=_pack(filled.unflatten(1, (blocks, block)).numpy(), bits),
        scale=_per_block(grid.scale.float(), outputs, group_of).numpy(),
        zero=None if zero is None else _pack(zero.numpy(), bits),
        inputs=inputs, bits=bits, block=block,
    )


def _block_size(inputs: int, group_size: int, bits: int) -> int:
    """The largest that divides the groups; without groups, that of fewest bytes with padding and scales."""
    if group_size:
        return max(size for size in _BLOCKS if group_size % size == 0)
    return min(_BLOCKS, key=lambda size: -(-inputs // size) * (size * bits / 8 + _SCALE_BYTES))


def _per_block(values: Tensor, outputs: int, group_of: Tensor) -> Tensor:
    """Values per tensor, channel or group as (out, blocks)."""
    rows = values.reshape(-1, 1) if values.ndim == 1 else values
    return rows.expand(outputs, -1)[:, group_of].contiguous()


def _pack(values: np.ndarray, bits: int) -> np.ndarray:
    """Values of `bits` bits along the last axis, the first of a byte in its lowest bits; zeros fill the last byte."""
    per_byte = 8 // bits
    odd = -values.shape[-1] % per_byte
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, odd)]).astype(np.uint8)
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    parts = padded.reshape(*padded.shape[:-1], -1, per_byte) << shifts
    return np.bitwise_or.reduce(parts, axis=-1)


def _unpack(packed: np.ndarray, bits: int) -> np.ndarray:
    shifts = np.arange(8 // bits, dtype=np.uint8) * np.uint8(bits)
    parts = (packed[..., None] >> shifts) & np.uint8(2**bits - 1)
    return parts.reshape(*packed.shape[:-1], -1)


def unpacked_blocks(weight: BlockWeight) -> np.ndarray:
    """The weight's values, float32 (out, in)."""
    outputs, blocks = weight.scale.shape
    symbols = _unpack(weight.packed, weight.bits).astype(np.int32)
    zero: np.ndarray | int = 2 ** (weight.bits - 1)
    if weight.zero is not None:
        zero = _unpack(weight.zero, weight.bits)[:, :blocks, None].astype(np.int32)
    values = (symbols - zero).astype(np.float32) * weight.scale[..., None]
    return values.reshape(outputs, -1)[:, : weight.inputs]


def insert_block_products(proto: onnx.ModelProto, weights: dict[str, BlockWeight]) -> None:
    """Let layers multiply by packed weights, in place; a bias that is added behind becomes the product's own.

    Args:
        proto: The graph, these layers' weights missing.
        weights: By fqn, of layers that are used once.
    """
    graph = proto.graph
    for fqn, node in layer_nodes(graph, list(weights)).items():
        weight, name = weights[fqn], f"{fqn}.weight"
        tensors = {PACKED: weight.packed, ".scale": weight.scale}
        if weight.zero is not None:
            tensors[".zero"] = weight.zero
        graph.initializer.extend(numpy_helper.from_array(values, name + end) for end, values in tensors.items())
        zero = "" if weight.zero is None else f"{name}.zero"
        bias = node.input[2] if len(node.input) > 2 else _take_bias(graph, node, f"{fqn}.bias")
        inputs = [node.input[0], name + PACKED, f"{name}.scale", zero, "", bias]
        while not inputs[-1]:
            inputs.pop()
        node.CopyFrom(helper.make_node(
            OPERATOR, inputs, list(node.output), name=node.name, domain=DOMAIN, K=weight.inputs,
            N=len(weight.scale), bits=weight.bits, block_size=weight.block, accuracy_level=_INTEGER_PRODUCT,
        ))
    if weights:
        proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def _take_bias(graph: onnx.GraphProto, node: onnx.NodeProto, bias: str) -> str:
    """Remove the addition of the layer's bias where it alone reads the product; the bias's name, or nothing."""
    users = [user for user in graph.node if node.output[0] in user.input]
    results = {value.name for value in graph.output}
    if len(users) != 1 or users[0].op_type != "Add" or bias not in users[0].input or node.output[0] in results:
        return ""
    node.output[0] = users[0].output[0]
    graph.node.remove(users[0])
    return bias


def held_blocks(proto: onnx.ModelProto) -> dict[str, BlockWeight]:
    """The packed weights of a graph, by parameter name."""
    held = {tensor.name: tensor for tensor in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        if node.op_type != OPERATOR or node.domain != DOMAIN:
            continue
        settings = {attribute.name: attribute.i for attribute in node.attribute}
        packed, scale, zero = (numpy_helper.to_array(held[n]) if n in held else None for n in [*node.input, ""][1:4])
        if packed is not None and scale is not None:
            found[node.input[1].removesuffix(PACKED)] = BlockWeight(
                packed, scale, zero, settings["K"], settings.get("bits", 4), settings["block_size"]
            )
    return found
