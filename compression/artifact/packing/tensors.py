"""One tensor to streams and back, by its encoding."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compression.artifact.packing.streams import StreamWriter
from compression.core.errors import InputError
from compression.grids import (
    codebook_indices,
    decode_codebook,
    dequantize,
    expand_scale,
    quantize_to_grid,
    symbol_range,
)
from compression.state import Codebook, Encoding, HalfPrecision, UniformGrid

_POOLED = 512
_BYTE = 256
_HALVES = ("float16", "bfloat16")
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_STORABLE = {str(t).removeprefix("torch."): t for t in (
    torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
)}
Record = dict[str, Any]


def dtype_name(values: Tensor) -> str:
    """Name under which a tensor's type is stored.

    Raises:
        InputError: if tensors of this type cannot be stored.
    """
    name = str(values.dtype).removeprefix("torch.")
    if name not in _STORABLE:
        raise InputError("dtype", name, "allowed: " + ", ".join(_STORABLE))
    return name


def without_negative_zeros(values: Tensor) -> Tensor:
    """The values with negative zeros made positive, as pruning by multiplication leaves some."""
    return values + 0.0


def bit_patterns(values: Tensor) -> Tensor:
    """Floating-point values as float32 bit patterns (int32), negative zero made positive."""
    return without_negative_zeros(values.float()).contiguous().view(torch.int32)


def same_values(first: Tensor, second: Tensor) -> bool:
    """Whether two float tensors are equal bit by bit, but for the sign of zero."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    if first.is_floating_point():
        return torch.equal(bit_patterns(first), bit_patterns(second))
    return torch.equal(first, second)


def holds(value: Tensor, encoding: Encoding) -> bool:
    """Whether a tensor's values really lie where its encoding says, and the encoding is one that can be stored."""
    if value.dtype != torch.float32:
        return False
    if isinstance(encoding, UniformGrid) and not _fits(encoding, value.shape):
        return False
    if isinstance(encoding, UniformGrid):
        return same_values(dequantize(quantize_to_grid(value, encoding), encoding), value)
    if isinstance(encoding, Codebook):
        return len(encoding.values) <= _BYTE and same_values(
            decode_codebook(codebook_indices(value, encoding), encoding), value
        )
    return same_values(value.to(getattr(torch, encoding.dtype)).float(), value)


def _fits(grid: UniformGrid, shape: torch.Size) -> bool:
    if not 2 <= grid.bits <= 8 or (grid.group_size and grid.scale.dim() != 2):
        return False
    zero = grid.zero_point
    if zero is not None and (zero.shape != grid.scale.shape or zero.min() < 0 or zero.max() >= 2**grid.bits):
        return False
    try:
        return torch.broadcast_shapes(expand_scale(grid.scale, shape, grid.group_size).shape, shape) == shape
    except RuntimeError:
        return False


@dataclass
class Pools:
    """Short float arrays laid end to end, by type, so that each needs no description of its own."""

    parts: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, values: Tensor, dtype: str = "float32") -> None:
        """Append an array."""
        self.parts.setdefault(dtype, []).append(to_words(values, dtype))

    def write(self, writer: StreamWriter) -> dict[str, list[int]]:
        """Write the pools as byte planes; returns the streams' numbers by type."""
        return {dtype: add_planes(writer, np.concatenate(parts)) for dtype, parts in sorted(self.parts.items())}


class PoolReader:
    """Takes arrays from the pools in the order they were added."""

    def __init__(self, words: dict[str, np.ndarray]) -> None:
        self._words, self._position = words, dict.fromkeys(words, 0)

    def take(self, shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
        """Next array of a type.

        Raises:
            ValueError: if the pool is exhausted.
        """
        start, n = self._position.get(dtype, 0), math.prod(shape)
        words = self._words.get(dtype, np.zeros(0, np.uint32))[start : start + n]
        if n < 0 or len(words) != n:
            raise ValueError("a pool of values is too short")
        self._position[dtype] = start + n
        return from_words(words, dtype).reshape(shape)


def to_words(values: Tensor, dtype: str) -> np.ndarray:
    """Bit patterns as unsigned numbers as wide as the type."""
    kept = values.detach().to(_STORABLE[dtype]).contiguous().flatten()
    words = kept.view(_WORDS[kept.element_size()]).numpy()
    return words.view(f"u{words.itemsize}")


def from_words(words: np.ndarray, dtype: str) -> Tensor:
    """Inverse of `to_words`; 16-bit floats are given as float32.

    Raises:
        ValueError: if the type is unknown or its words have another width.
    """
    kind = _STORABLE.get(dtype)
    if kind is None or kind.itemsize != words.itemsize or (kind is torch.bool and words.max(initial=0) > 1):
        raise ValueError("values are of an unknown type")
    signed = words.astype(f"i{words.itemsize}" if words.itemsize > 1 else "u1")
    values = torch.from_numpy(signed).view(kind)
    return values.float() if dtype in _HALVES else values


def add_planes(writer: StreamWriter, words: np.ndarray) -> list[int]:
    """Write words as one stream per byte; exponents compress, mantissas do not."""
    planes = words.astype(words.dtype.newbyteorder("<")).view(np.uint8).reshape(len(words), words.dtype.itemsize)
    return [writer.add(planes[:, i], _BYTE) for i in range(planes.shape[1])]


def read_planes(streams: list[np.ndarray], numbers: list[int]) -> np.ndarray:
    """Inverse of `add_planes`.

    Raises:
        ValueError: if the planes do not fit together.
    """
    if len(numbers) not in _WORDS:
        raise ValueError("a value has a wrong number of bytes")
    planes = np.stack([streams[i] for i in numbers], axis=1).astype(np.uint8)
    return np.ascontiguousarray(planes).view(f"<u{len(numbers)}").reshape(-1)


def write_tensor(writer: StreamWriter, pools: Pools, value: Tensor, encoding: Encoding | None) -> Record:
    """Add a tensor's streams; returns what is needed to read it again. Its encoding must hold."""
    record: Record = {"d": list(value.shape)}
    if isinstance(encoding, UniformGrid):
        low, high = symbol_range(encoding)
        record.update(k="g", b=encoding.bits, g=encoding.group_size, c=list(encoding.scale.shape))
        pools.add(encoding.scale)
        if encoding.zero_point is not None:
            record["z"] = writer.add(encoding.zero_point.numpy(), 2**encoding.bits)
        symbols = quantize_to_grid(value, encoding)
        if symbols.numel():
            low, high = int(symbols.min()), int(symbols.max())
        record.update(l=low, s=writer.add((symbols - low).numpy(), high - low + 1, tuple(value.shape)))
    elif isinstance(encoding, Codebook):
        record.update(k="c", v=len(encoding.values))
        pools.add(encoding.values)
        if encoding.scale is not None:
            record["c"] = list(encoding.scale.shape)
            pools.add(encoding.scale)
        indices = codebook_indices(value, encoding).numpy()
        record["s"] = writer.add(indices, len(encoding.values), tuple(value.shape))
    else:
        if encoding is not None:
            record["h"] = 1
        record.update(_write_plain(writer, pools, value, dtype_name(value) if encoding is None else encoding.dtype))
    return record


def _write_plain(writer: StreamWriter, pools: Pools, value: Tensor, dtype: str) -> Record:
    if value.numel() <= _POOLED:
        pools.add(value, dtype)
        return {"k": "p", "t": dtype}
    words = to_words(value, dtype)
    kept = words != 0
    if kept.mean() > 0.97:
        return {"k": "f", "t": dtype, "s": add_planes(writer, words)}
    return {"k": "m", "t": dtype, "m": writer.add(kept, 2), "s": add_planes(writer, words[kept])}


def read_tensor(record: Record, streams: list[np.ndarray], pools: PoolReader) -> tuple[Tensor, Encoding | None]:
    """Inverse of `write_tensor`.

    Raises:
        ValueError, KeyError, IndexError, TypeError: if the record is damaged.
    """
    shape, kind = tuple(int(d) for d in record["d"]), record["k"]
    if kind == "g":
        grid = _read_grid(record, streams, pools)
        low, high = symbol_range(grid)
        symbols = _shaped(streams[record["s"]], shape) + int(record.get("l", low))  # files of version 0.1 have none
        if symbols.numel() and not low <= int(symbols.min()) <= int(symbols.max()) <= high:
            raise ValueError("a tensor has symbols beyond its grid")
        return dequantize(symbols, grid), grid
    if kind == "c":
        values = pools.take((int(record["v"]),))
        scale = pools.take(tuple(record["c"])) if "c" in record else None
        codebook = Codebook(values, scale)
        return decode_codebook(_shaped(streams[record["s"]], shape).long(), codebook), codebook
    dtype = record["t"]
    encoding = HalfPrecision(dtype) if record.get("h") else None
    if kind == "p":
        return pools.take(shape, dtype), encoding
    words = read_planes(streams, record["s"])
    if kind == "m":
        kept = streams[record["m"]].astype(bool)
        spread = np.zeros(len(kept), dtype=words.dtype)
        spread[kept] = words
        words = spread
    elif kind != "f":
        raise ValueError("a tensor is of an unknown kind")
    return from_words(words, dtype).reshape(shape), encoding


def _read_grid(record: Record, streams: list[np.ndarray], pools: PoolReader) -> UniformGrid:
    scale_shape = tuple(int(d) for d in record["c"])
    scale = pools.take(scale_shape)
    zero = _shaped(streams[record["z"]], scale_shape) if "z" in record else None
    if not 2 <= int(record["b"]) <= 8:
        raise ValueError("a grid has an unknown number of bits")
    return UniformGrid(int(record["b"]), scale, zero, int(record["g"]))


def _shaped(symbols: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(symbols, dtype=np.int32)).reshape(shape)
