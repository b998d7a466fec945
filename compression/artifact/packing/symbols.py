"""Whole numbers to bytes and back: bit-packed, or entropy-coded with a frequency table.

Entropy coding is asymmetric numeral systems (Duda 2013) by the constriction library. A table holds one byte per
symbol; several streams may share one.
"""

import math
from dataclasses import dataclass

import constriction
import numpy as np

_TOP = 255


def bits_for(count: int) -> int:
    """Bits that one of `count` symbols takes when packed; none for a single symbol."""
    return max(0, (count - 1).bit_length())


def pack_bits(symbols: np.ndarray, count: int) -> bytes:
    """Symbols in [0, count) at the least whole number of bits each."""
    bits = bits_for(count)
    if bits == 0 or symbols.size == 0:
        return b""
    planes = (symbols.astype(np.uint16)[:, None] >> np.arange(bits, dtype=np.uint16)) & 1
    return np.packbits(planes.astype(np.uint8), axis=None, bitorder="little").tobytes()


def unpack_bits(data: bytes, n: int, count: int) -> np.ndarray:
    """Inverse of `pack_bits`; (n,) int32.

    Raises:
        ValueError: if there are not enough bytes or a symbol is out of range.
    """
    bits = bits_for(count)
    if bits == 0 or n == 0:
        return np.zeros(n, dtype=np.int32)
    if len(data) != math.ceil(n * bits / 8):
        raise ValueError("a packed tensor has the wrong length")
    planes = np.unpackbits(np.frombuffer(data, np.uint8), count=n * bits, bitorder="little").reshape(n, bits)
    symbols = planes.astype(np.int32) @ (1 << np.arange(bits, dtype=np.int32))
    if symbols.max(initial=0) >= count:
        raise ValueError("a packed symbol is out of range")
    return symbols


@dataclass(frozen=True)
class FrequencyTable:
    """Relative frequencies of symbols, one byte each.

    Attributes:
        weights: uint8 (K,); 0 for a symbol that never occurs.
    """

    weights: np.ndarray

    @classmethod
    def of_counts(cls, counts: np.ndarray) -> "FrequencyTable":
        """Round counts to 255 steps on a square-root scale, which is finer for rare symbols."""
        top = max(1, int(counts.max(initial=1)))
        scaled = np.rint(np.sqrt(counts / top) * _TOP)
        return cls(np.where(counts > 0, np.maximum(scaled, 1), 0).astype(np.uint8))

    @classmethod
    def from_bytes(cls, data: bytes) -> "FrequencyTable":
        """Inverse of `to_bytes`.

        Raises:
            ValueError: if no symbol has a frequency.
        """
        weights = np.frombuffer(data, np.uint8)
        if not weights.any():
            raise ValueError("a frequency table is empty")
        return cls(weights)

    def to_bytes(self) -> bytes:
        """One byte per symbol."""
        return self.weights.tobytes()

    def cost_bits(self, counts: np.ndarray) -> float:
        """Bits that symbols with these counts would take; infinite if one of them has no frequency."""
        squares = self.weights.astype(np.float64) ** 2
        if (counts[squares == 0] > 0).any():
            return math.inf
        used = counts > 0
        return float(-(counts[used] * np.log2(squares[used] / squares.sum())).sum())

    def model(self) -> tuple[np.ndarray, object | None]:
        """Occurring symbols, and the coder's model over their positions (None for a single one)."""
        present = np.flatnonzero(self.weights).astype(np.int32)
        if len(present) == 1:
            return present, None
        squares = self.weights[present].astype(np.float64) ** 2
        probabilities = (squares / squares.sum()).astype(np.float32)
        return present, constriction.stream.model.Categorical(probabilities, perfect=False)


def encode(symbols: np.ndarray, table: FrequencyTable) -> bytes:
    """Entropy-code symbols that all have a frequency in the table."""
    present, model = table.model()
    if model is None or symbols.size == 0:
        return b""
    positions = np.searchsorted(present, symbols).astype(np.int32)
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(positions, model)
    return coder.get_compressed().astype("<u4").tobytes()


def decode(data: bytes, n: int, table: FrequencyTable) -> np.ndarray:
    """Inverse of `encode`; (n,) int32.

    Raises:
        ValueError: if the bytes are no whole words or do not end where they should.
    """
    present, model = table.model()
    if model is None or n == 0:
        return np.full(n, present[0], dtype=np.int32)
    if len(data) % 4:
        raise ValueError("an entropy-coded tensor has the wrong length")
    coder = constriction.stream.stack.AnsCoder(np.frombuffer(data, "<u4").astype(np.uint32))
    positions = np.asarray(coder.decode(model, n))
    if not coder.is_empty():
        raise ValueError("an entropy-coded tensor has bytes left over")
    return present[positions]
