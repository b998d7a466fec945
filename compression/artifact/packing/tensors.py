"""One tensor to streams and back, by its encoding."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compression.artifact.packing.streams import StreamWriter
from compression.grids import codebook_indices, decode_codebook, dequantize, quantize_to_grid, symbol_range
from compression.state import Codebook, Encoding, HalfPrecision, UniformGrid

_POOLED = 512
_BYTE = 256
Record = dict[str, Any]


def bit_patterns(values: Tensor) -> Tensor:
    """float32 values as int32 bit patterns, negative zero made positive."""
    return (values.float() + 0.0).contiguous().view(torch.int32)


def same_values(first: Tensor, second: Tensor) -> bool:
    """Whether two float tensors are equal bit by bit, but for the sign of zero."""
    return first.shape == second.shape and torch.equal(bit_patterns(first), bit_patterns(second))


def holds(value: Tensor, encoding: Encoding) -> bool:
    """Whether a tensor's values really lie where its encoding says."""
    if isinstance(encoding, UniformGrid):
        return same_values(dequantize(quantize_to_grid(value, encoding), encoding), value)
    if isinstance(encoding, Codebook):
        return len(encoding.values) <= _BYTE and same_values(
            decode_codebook(codebook_indices(value, encoding), encoding), value
        )
    return same_values(value.to(getattr(torch, encoding.dtype)).float(), value)


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
        if len(words) != n:
            raise ValueError("a pool of values is too short")
        self._position[dtype] = start + n
        return from_words(words, dtype).reshape(shape)


def to_words(values: Tensor, dtype: str) -> np.ndarray:
    """Bit patterns as uint32 (float32) or uint16 (16-bit types)."""
    if dtype == "float32":
        return values.detach().float().contiguous().flatten().view(torch.int32).numpy().view(np.uint32)
    half = values.detach().to(getattr(torch, dtype)).contiguous().flatten()
    return half.view(torch.int16).numpy().view(np.uint16)


def from_words(words: np.ndarray, dtype: str) -> Tensor:
    """Inverse of `to_words`; float32."""
    if dtype == "float32":
        return torch.from_numpy(words.astype(np.uint32).view(np.int32).copy()).view(torch.float32)
    return torch.from_numpy(words.astype(np.uint16).view(np.int16).copy()).view(getattr(torch, dtype)).float()


def add_planes(writer: StreamWriter, words: np.ndarray) -> list[int]:
    """Write words as one stream per byte; exponents compress, mantissas do not."""
    planes = words.astype(words.dtype.newbyteorder("<")).view(np.uint8).reshape(len(words), -1)
    return [writer.add(planes[:, i], _BYTE) for i in range(planes.shape[1])]


def read_planes(streams: list[np.ndarray], numbers: list[int]) -> np.ndarray:
    """Inverse of `add_planes`.

    Raises:
        ValueError: if the planes do not fit together.
    """
    if len(numbers) not in (2, 4):
        raise ValueError("a value has a wrong number of bytes")
    planes = np.stack([streams[i] for i in numbers], axis=1).astype(np.uint8)
    return np.ascontiguousarray(planes).view("<u4" if len(numbers) == 4 else "<u2").reshape(-1)


def write_tensor(writer: StreamWriter, pools: Pools, value: Tensor, encoding: Encoding | None) -> Record:
    """Add a tensor's streams; returns what is needed to read it again. Its encoding must hold."""
    record: Record = {"d": list(value.shape)}
    if isinstance(encoding, UniformGrid):
        low, high = symbol_range(encoding)
        record.update(k="g", b=encoding.bits, g=encoding.group_size, c=list(encoding.scale.shape))
        pools.add(encoding.scale)
        if encoding.zero_point is not None:
            record["z"] = writer.add(encoding.zero_point.numpy(), 2**encoding.bits)
        record["s"] = writer.add((quantize_to_grid(value, encoding) - low).numpy(), high - low + 1)
    elif isinstance(encoding, Codebook):
        record.update(k="c", v=len(encoding.values))
        pools.add(encoding.values)
        if encoding.scale is not None:
            record["c"] = list(encoding.scale.shape)
            pools.add(encoding.scale)
        record["s"] = writer.add(codebook_indices(value, encoding).numpy(), len(encoding.values))
    else:
        record.update(_write_plain(writer, pools, value, "float32" if encoding is None else encoding.dtype))
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
        symbols = _shaped(streams[record["s"]], shape) + symbol_range(grid)[0]
        return dequantize(symbols, grid), grid
    if kind == "c":
        values = pools.take((int(record["v"]),))
        scale = pools.take(tuple(record["c"])) if "c" in record else None
        codebook = Codebook(values, scale)
        return decode_codebook(_shaped(streams[record["s"]], shape).long(), codebook), codebook
    dtype = record["t"]
    encoding = None if dtype == "float32" else HalfPrecision(dtype)
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
