"""Grids and codebooks as pure functions: values to symbols and back.

Quantization writes weights with `dequantize`, the packer and the graph compiler read their symbols again with
`quantize_to_grid`; both go through the same float32 arithmetic, so nothing is rounded twice.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from compression.state import Codebook, Encoding, HalfPrecision, UniformGrid


def expand_scale(scale: Tensor, weight_shape: Sequence[int], group_size: int = 0) -> Tensor:
    """Scale or zero point in a shape that broadcasts to the weight.

    Args:
        scale: (1,) per tensor, (C_out,) per channel, or (C_out, G) per group.
        weight_shape: Shape of the weight, (C_out, ...).
        group_size: Inputs per group over the flattened rest; 0 without groups.
    """
    if group_size:
        inputs = math.prod(weight_shape[1:])
        return scale.repeat_interleave(group_size, dim=1)[:, :inputs].reshape(tuple(weight_shape))
    if scale.numel() == 1:
        return scale.reshape([1] * len(weight_shape))
    return scale.reshape(-1, *[1] * (len(weight_shape) - 1))


def symbol_range(grid: UniformGrid) -> tuple[int, int]:
    """Smallest and largest symbol of a grid."""
    if grid.zero_point is None:
        return -(2 ** (grid.bits - 1) - 1), 2 ** (grid.bits - 1) - 1
    return 0, 2**grid.bits - 1


def quantize_to_grid(weight: Tensor, grid: UniformGrid) -> Tensor:
    """Nearest symbols, int32, shaped as the weight."""
    low, high = symbol_range(grid)
    symbols = torch.round(weight / expand_scale(grid.scale, weight.shape, grid.group_size))
    if grid.zero_point is not None:
        symbols = symbols + expand_scale(grid.zero_point, weight.shape, grid.group_size)
    return torch.nan_to_num(symbols).clamp(low, high).to(torch.int32)


def dequantize(symbols: Tensor, grid: UniformGrid) -> Tensor:
    """Values ``scale * (q - zero_point)``, float32."""
    whole = symbols
    if grid.zero_point is not None:
        whole = symbols - expand_scale(grid.zero_point, symbols.shape, grid.group_size)
    return whole.to(torch.float32) * expand_scale(grid.scale, symbols.shape, grid.group_size)


def codebook_indices(weight: Tensor, codebook: Codebook) -> Tensor:
    """Index of the nearest entry, int64, shaped as the weight; of close ones that which decodes to the weight."""
    order = torch.argsort(codebook.values)
    entries = codebook.values[order]
    plain = weight
    if codebook.scale is not None:
        scale = expand_scale(codebook.scale, weight.shape)
        plain = torch.where(scale == 0, torch.zeros_like(weight), weight / torch.where(scale == 0, 1.0, scale))
    exactly = entries.double()  # between neighbouring float32 there is no middle
    places = torch.bucketize(plain.double().contiguous(), (exactly[1:] + exactly[:-1]) / 2)
    if codebook.scale is not None:  # dividing rounds: a neighbour less than that apart may be the one meant
        missed = decode_codebook(order[places], codebook) != weight
        for step in (-1, 1):
            neighbours = (places + step).clamp(0, len(entries) - 1)
            exact = missed & (decode_codebook(order[neighbours], codebook) == weight)
            places = torch.where(exact, neighbours, places)
    return order[places]


def decode_codebook(indices: Tensor, codebook: Codebook) -> Tensor:
    """Values of the entries, float32."""
    values = codebook.values[indices]
    return values if codebook.scale is None else values * expand_scale(codebook.scale, indices.shape)


def encoding_label(encoding: Encoding | None) -> str:
    """Name of an encoding for people."""
    if isinstance(encoding, UniformGrid):
        return f"{encoding.bits}-bit grid"
    if isinstance(encoding, HalfPrecision):
        return encoding.dtype
    if isinstance(encoding, Codebook):
        entries = set(encoding.values.tolist())
        named = {frozenset({-1.0, 1.0}): "binary", frozenset({-1.0, 0.0, 1.0}): "ternary"}
        return named.get(frozenset(entries), f"{len(encoding.values)}-entry codebook")
    return "float32"
