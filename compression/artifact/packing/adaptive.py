"""Adaptive range coding of whole numbers (Martin 1979; range coder by the constriction library).

Frequencies are learned from the symbols that have been coded, so no table is stored. Rows of a tensor whose symbols
spread alike share frequencies (a context): output channels, or input channels, whichever is shorter. All arithmetic
on frequencies is in integers, so that every machine decodes the same.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import constriction
import numpy as np
from scipy.special import gammaln

from compression.artifact.packing.symbols import pack_bits, unpack_bits

_UNIT = 64  # what one occurrence counts; prior frequencies are parts of it
_PRIOR = 16 * _UNIT
_FIRST_BLOCK, _LARGEST_BLOCK = 64, 8192
_SYMBOLS_PER_CONTEXT = 512
_CONTEXTS = (2, 4, 8)
_LEVELS, _LEVEL_OF_ONE = 32, 12
_SQRT_2 = 46341  # of 32768
_ONE = 1 << 16


@dataclass(frozen=True)
class Contexts:
    """How a stream is divided: (outer, rows, inner) symbols, a context per row.

    Attributes:
        rows: Number of rows; 1 where the whole stream is one context.
        inner: Symbols of one row that follow each other.
        of_row: Context of each row, (rows,).
        levels: Spread of each context, half powers of two (`_level_of`).
        center: Symbol around which the others spread.
    """

    rows: int
    inner: int
    of_row: np.ndarray
    levels: tuple[int, ...]
    center: int

    def members(self) -> Iterator[tuple[np.ndarray, int]]:
        """Rows and level of each context."""
        for context, level in enumerate(self.levels):
            yield np.flatnonzero(self.of_row == context), level


def choose_contexts(symbols: np.ndarray, shape: tuple[int, ...], count: int) -> tuple[Contexts, float]:
    """The division of a stream that takes the fewest bits, and how many these are, about.

    Args:
        symbols: (n,), in [0, count).
        shape: Of the tensor; (C_out, ...) or (C_out, C_in, ...).
        count: Size of the alphabet.
    """
    whole = np.bincount(symbols, minlength=count)[None]
    center = int(np.searchsorted(np.cumsum(whole[0]), (len(symbols) + 1) // 2))
    distances = np.abs(np.arange(count) - center)
    best = _with_bits(_by_spread(whole @ distances / len(symbols), 1, len(symbols), 1, center), whole)
    for axis in range(min(2, len(shape))):
        rows, inner = shape[axis], math.prod(shape[axis + 1 :])
        most = min(rows, len(symbols) // _SYMBOLS_PER_CONTEXT)
        if most < _CONTEXTS[0]:
            continue
        pairs = symbols.reshape(-1, rows, inner) + count * np.arange(rows)[:, None]
        seen = np.bincount(pairs.ravel(), minlength=rows * count).reshape(rows, count)
        spread = seen @ distances / (len(symbols) / rows)
        for number in _CONTEXTS:
            if number <= most:
                found = _with_bits(_by_spread(spread, rows, inner, number, center), seen)
                best = min(best, found, key=lambda pair: pair[1])
    return best


def _by_spread(spread: np.ndarray, rows: int, inner: int, number: int, center: int) -> Contexts:
    """Rows in so many contexts of equal size by their spread."""
    place = np.empty(rows, np.int64)
    place[np.argsort(spread, kind="stable")] = np.arange(rows)
    of_row = place * number // rows
    levels = tuple(_level_of(float(spread[of_row == context].mean())) for context in range(number))
    return Contexts(rows, inner, of_row, levels, center)


def _level_of(distance: float) -> int:
    return min(_LEVELS - 1, max(0, round(2 * math.log2(max(distance, 1e-3))) + _LEVEL_OF_ONE))


def _prior(count: int, level: int, center: int) -> np.ndarray:
    """Frequencies before anything is coded: a two-sided geometric distribution, int64 (count,), none of them zero."""
    half = level - _LEVEL_OF_ONE + 2 * _LEVEL_OF_ONE  # not negative
    mean = (_ONE << (half // 2)) * (_SQRT_2 if half % 2 else 32768) // 32768 >> _LEVEL_OF_ONE
    ratio = max(1, (mean << 16) // (mean + _ONE))
    weights, weight = np.ones(max(center, count - 1 - center) + 1, np.int64), _ONE
    for distance in range(len(weights)):
        weights[distance] = max(1, weight)
        weight = weight * ratio >> 16
        if weight == 0:
            break
    spread = weights[np.abs(np.arange(count) - center)]
    return np.maximum(1, spread * _PRIOR // spread.sum())


def _with_bits(contexts: Contexts, seen: np.ndarray) -> tuple[Contexts, float]:
    """Bits of a stream whose frequencies are learned (Dirichlet-multinomial), description included.

    Args:
        contexts: Its division.
        seen: How often each symbol occurs in each row, (rows, count).
    """
    bits = 8.0 * len(_header(contexts)) + 32
    for rows, level in contexts.members():
        prior = _prior(seen.shape[1], level, contexts.center) / _UNIT
        counts = seen[rows].sum(0)
        gained = gammaln(counts + prior).sum() - gammaln(prior).sum()
        bits += (gammaln(counts.sum() + prior.sum()) - gammaln(prior.sum()) - gained) / math.log(2)
    return contexts, float(bits)


def encode_adaptive(symbols: np.ndarray, contexts: Contexts, count: int) -> bytes:
    """Code a stream; `contexts` are kept in front of it."""
    coder = constriction.stream.queue.RangeEncoder()
    table = symbols.astype(np.int32).reshape(-1, contexts.rows, contexts.inner)
    for rows, level in contexts.members():
        part, frequencies = table[:, rows].ravel(), _prior(count, level, contexts.center)
        for start, end in _blocks(len(part)):
            coder.encode(part[start:end], _model(frequencies))
            frequencies += _UNIT * np.bincount(part[start:end], minlength=count)
    return _header(contexts) + coder.get_compressed().astype("<u4").tobytes()


def decode_adaptive(data: bytes, n: int, count: int) -> np.ndarray:
    """Inverse of `encode_adaptive`; (n,) int32.

    Raises:
        ValueError: if the bytes cannot be such a stream.
    """
    contexts, start = _read_header(data, n, count)
    if (len(data) - start) % 4:
        raise ValueError("an entropy-coded tensor has the wrong length")
    coder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4", offset=start).astype(np.uint32))
    symbols = np.empty((n // (contexts.rows * contexts.inner), contexts.rows, contexts.inner), np.int32)
    for rows, level in contexts.members():
        frequencies = _prior(count, level, contexts.center)
        part = np.empty(symbols[:, rows].size, np.int32)
        for begin, end in _blocks(len(part)):
            part[begin:end] = coder.decode(_model(frequencies), end - begin)
            frequencies += _UNIT * np.bincount(part[begin:end], minlength=count)
        symbols[:, rows] = part.reshape(-1, len(rows), contexts.inner)
    if not coder.maybe_exhausted():
        raise ValueError("an entropy-coded tensor has bytes left over")
    return symbols.ravel()


def _blocks(n: int) -> Iterator[tuple[int, int]]:
    """Stretches that are coded with the same frequencies, each as long as all before it, within bounds."""
    start = 0
    while start < n:
        end = min(n, start + min(_LARGEST_BLOCK, max(_FIRST_BLOCK, start)))
        yield start, end
        start = end


def _model(frequencies: np.ndarray) -> object:
    probabilities = (frequencies / frequencies.sum()).astype(np.float32)
    return constriction.stream.model.Categorical(probabilities, perfect=False)


def _header(contexts: Contexts) -> bytes:
    """Center, levels, and which context each row belongs to."""
    words = [contexts.center, len(contexts.levels), *contexts.levels]
    if len(contexts.levels) == 1:
        return b"".join(map(_varint, words))
    head = b"".join(map(_varint, [*words, contexts.rows, contexts.inner]))
    return head + pack_bits(contexts.of_row, len(contexts.levels))


def _read_header(data: bytes, n: int, count: int) -> tuple[Contexts, int]:
    center, place = _read_varint(data, 0)
    number, place = _read_varint(data, place)
    levels = []
    for _ in range(min(number, max(_CONTEXTS) + 1)):
        level, place = _read_varint(data, place)
        levels.append(level)
    if center >= count or count < 2 or number not in (1, *_CONTEXTS) or max(levels) >= _LEVELS:
        raise ValueError("an adaptively coded tensor has an unknown description")
    if number == 1:
        return Contexts(1, n, np.zeros(1, np.int64), tuple(levels), center), place
    rows, place = _read_varint(data, place)
    inner, place = _read_varint(data, place)
    if rows < 1 or inner < 1 or n % (rows * inner):
        raise ValueError("an adaptively coded tensor has rows that do not fit")
    end = place + math.ceil(rows * (number - 1).bit_length() / 8)
    of_row = unpack_bits(data[place:end], rows, number).astype(np.int64)
    return Contexts(rows, inner, of_row, tuple(levels), center), end


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if place >= len(data):
            break
        value |= (data[place] & 127) << shift
        place += 1
        if data[place - 1] < 128:
            return value, place
    raise ValueError("an adaptively coded tensor has a damaged description")
