"""Weights of quantized layers as int8 with one scale per output channel, as int8 kernels need them."""

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from compression.artifact.graph.lowering import Fold, Lowering
from compression.artifact.graph.sharing import held_tensors
from compression.artifact.graph.weights import centered_symbols
from compression.grids import codebook_indices
from compression.layers import weight_layers
from compression.metrics.environment import PAIR_LIMIT, int8_symbol_limit
from compression.state import ActivationQuantization, Codebook, Encoding, UniformGrid, state_of

_INT8 = 127
_BIAS_LIMIT = 2**30  # half of int32: the other half is left to the sum of products
_OVERFLOWING = (
    "its weights have the whole range of 8 bits: this processor's integer kernels (x86 without VNNI) would overflow"
)


@dataclass(frozen=True)
class IntegerWeight:
    """``scale * symbols`` is the weight with its batch norm folded in.

    Attributes:
        symbols: int8, as it lies in the graph.
        scale: float32 (C_out,), positive.
        axis: Axis of the output channels.
    """

    symbols: np.ndarray
    scale: np.ndarray
    axis: int


def integer_weights(
    model: nn.Module, lowering: Lowering, activations: ActivationQuantization
) -> tuple[dict[str, IntegerWeight], dict[str, str]]:
    """Integer form of each layer that has one; for the others, why not.

    Returns:
        ``fqn -> weight`` and ``fqn -> reason``.
    """
    state, found, reasons = state_of(model), {}, {}
    for fqn, layer in weight_layers(model):
        if fqn in activations.excluded:
            reasons[fqn] = "excluded from activation quantization"
            continue
        whole = _whole_numbers(layer.weight.detach(), state.encodings.get(f"{fqn}.weight"))
        if isinstance(whole, str):
            reasons[fqn] = whole
        elif int(whole[0].abs().max()) > int8_symbol_limit():
            reasons[fqn] = _OVERFLOWING
        else:
            found[fqn] = _folded(*whole, lowering.folds.get(fqn), lowering.is_transposed(fqn))
    return found, reasons


def _whole_numbers(weight: Tensor, encoding: Encoding | None) -> tuple[Tensor, Tensor] | str:
    """Symbols and scale per output channel, or why there are none."""
    channels = weight.shape[0]
    if isinstance(encoding, UniformGrid):
        if encoding.group_size:
            return "group scales do not fit the int8 kernel's one scale per output channel"
        symbols, scale = centered_symbols(weight, encoding), encoding.scale.float().flatten()
        if int(symbols.abs().max()) > _INT8:
            return "an affine 8-bit grid does not fit symmetric int8"
        return symbols, scale.expand(channels)
    if isinstance(encoding, Codebook):
        values = encoding.values.float()
        if not torch.equal(values, values.round()) or float(values.abs().max()) > _INT8:
            return "the codebook's entries lie on no integer grid"
        symbols = values[codebook_indices(weight, encoding)]
        scale = torch.ones(channels) if encoding.scale is None else encoding.scale.float().flatten().expand(channels)
        return symbols, scale
    return "its weights are not on a grid of at most 8 bits"


def _folded(symbols: Tensor, scale: Tensor, fold: Fold | None, transposed: bool) -> IntegerWeight:
    """Take the batch norm's multiplier into the scale; its sign goes into the symbols."""
    if fold is not None:
        scale = scale * fold.multiplier
    sign = torch.where(scale < 0, -1.0, 1.0)
    dead = scale == 0
    shape = (-1, *[1] * (symbols.ndim - 1))
    symbols = symbols.float() * torch.where(dead, 0.0, sign).reshape(shape)
    scale = torch.where(dead, 1.0, scale.abs())
    whole = symbols.to(torch.int8)
    whole = whole.t() if transposed else whole
    return IntegerWeight(whole.contiguous().numpy(), scale.contiguous().numpy(), axis=1 if transposed else 0)


def with_room_for_bias(weight: IntegerWeight, bias: np.ndarray, input_scale: float) -> IntegerWeight:
    """Coarser weights in channels whose bias would not fit 32 bits in units of input times weight.

    That happens where a channel's weights are zero (a pruned filter) or tiny beside its bias.

    Args:
        weight: Of the layer.
        bias: float32 (C_out,).
        input_scale: Of the layer's quantized input.
    """
    factor = np.abs(bias.astype(np.float64)) / (weight.scale.astype(np.float64) * input_scale * _BIAS_LIMIT)
    if (factor <= 1).all():
        return weight
    factor = np.maximum(factor, 1)
    shape = [1] * weight.symbols.ndim
    shape[weight.axis] = -1
    symbols = np.rint(weight.symbols / factor.reshape(shape)).astype(np.int8)
    return IntegerWeight(symbols, (weight.scale * factor).astype(np.float32), weight.axis)


def wide_layers(proto: onnx.ModelProto) -> list[str]:
    """Layers of a written graph whose weights x86 without VNNI overflows with, where activations have 8 bits."""
    tensors = held_tensors(proto.graph)
    held = {name: tensor for name, tensor in tensors.items() if tensor.data_type == TensorProto.INT8}
    names = (name.removesuffix(".zero") for name in held if name.endswith(".weight.zero"))
    symbols = {name: held[f"{name}.symbols"] for name in names if f"{name}.symbols" in held}
    return [
        name.removesuffix(".weight") for name, tensor in symbols.items()
        if int(np.abs(numpy_helper.to_array(tensor).astype(np.int16)).max(initial=0)) > PAIR_LIMIT
    ]
