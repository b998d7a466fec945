"""Streams of symbols in a packed file: each coded in whichever way is shortest."""

import math
from dataclasses import dataclass

import numpy as np

from compression.artifact.packing.adaptive import Contexts, choose_contexts, decode_adaptive, encode_adaptive
from compression.artifact.packing.symbols import FrequencyTable, bits_for, decode, encode, pack_bits, unpack_bits

BITS, OWN_TABLE, SHARED_TABLE, ADAPTIVE = 0, 1, 2, 3
Descriptor = list[int]


@dataclass
class _Pending:
    symbols: np.ndarray
    count: int
    occurrences: np.ndarray
    shape: tuple[int, ...]


class StreamWriter:
    """Collects streams, then codes each: bit-packed, by a table of its own or a shared one, or adaptively."""

    def __init__(self) -> None:
        self._pending: list[_Pending] = []

    def add(self, symbols: np.ndarray, count: int, shape: tuple[int, ...] = ()) -> int:
        """Add whole numbers in [0, count), flattened; returns the stream's number.

        Args:
            symbols: The numbers.
            count: Size of the alphabet.
            shape: (C_out, ...) of the tensor where they may be coded adaptively; empty where they may not.
        """
        flat = np.ascontiguousarray(symbols).reshape(-1).astype(np.int32)
        self._pending.append(_Pending(flat, count, np.bincount(flat, minlength=count), shape))
        return len(self._pending) - 1

    def finish(self) -> tuple[list[Descriptor], dict[str, str], list[bytes]]:
        """Code everything.

        Returns:
            Descriptors ``[n, count, coder, bytes]``, shared tables (hexadecimal, by count) and the coded bytes.
        """
        tables = self._shared_tables()
        descriptors, payloads = [], []
        for stream in self._pending:
            coder, data = _code(stream, tables.get(stream.count))
            descriptors.append([len(stream.symbols), stream.count, coder, len(data)])
            payloads.append(data)
        used = {str(d[1]) for d in descriptors if d[2] == SHARED_TABLE}
        named = {str(count): table.to_bytes().hex() for count, table in tables.items() if str(count) in used}
        return descriptors, named, payloads

    def _shared_tables(self) -> dict[int, FrequencyTable]:
        """One table per alphabet where it saves more than it takes."""
        tables = {}
        for count in {stream.count for stream in self._pending}:
            members = [s for s in self._pending if s.count == count]
            table = FrequencyTable.of_counts(np.sum([s.occurrences for s in members], axis=0))
            saved = sum(max(0.0, min(_alternatives(s)) - table.cost_bits(s.occurrences)) for s in members)
            if len(members) > 1 and saved > 8 * count:
                tables[count] = table
        return tables


def _alternatives(stream: _Pending) -> tuple[float, float]:
    """Bits when packed, and when coded by a table of its own."""
    packed = float(len(stream.symbols) * bits_for(stream.count))
    if not stream.symbols.size:
        return packed, math.inf
    own = FrequencyTable.of_counts(stream.occurrences).cost_bits(stream.occurrences)
    return packed, own + 8 * stream.count + 32


def _code(stream: _Pending, shared: FrequencyTable | None) -> tuple[int, bytes]:
    packed, own = _alternatives(stream)
    by_shared = math.inf if shared is None else shared.cost_bits(stream.occurrences) + 32
    contexts, adaptive = _contexts(stream)
    if contexts is not None and adaptive < min(packed, own, by_shared):
        return ADAPTIVE, encode_adaptive(stream.symbols, contexts, stream.count)
    if packed <= min(own, by_shared):
        return BITS, pack_bits(stream.symbols, stream.count)
    if shared is not None and by_shared <= own:
        return SHARED_TABLE, encode(stream.symbols, shared)
    table = FrequencyTable.of_counts(stream.occurrences)
    return OWN_TABLE, table.to_bytes() + encode(stream.symbols, table)


def _contexts(stream: _Pending) -> tuple[Contexts | None, float]:
    if not stream.shape or stream.count < 2 or not stream.symbols.size:
        return None, math.inf
    return choose_contexts(stream.symbols, stream.shape, stream.count)


def read_streams(descriptors: list[Descriptor], tables: dict[str, str], data: bytes) -> list[np.ndarray]:
    """Inverse of `StreamWriter.finish`; int32 arrays.

    Raises:
        ValueError: if descriptors and bytes do not fit.
    """
    shared = {int(count): FrequencyTable.from_bytes(bytes.fromhex(text)) for count, text in tables.items()}
    streams, position = [], 0
    for n, count, coder, length in descriptors:
        if min(n, count - 1, length) < 0 or count > 2**16 or position + length > len(data):
            raise ValueError("a stream's description does not fit")
        part = data[position : position + length]
        position += length
        if coder == BITS:
            streams.append(unpack_bits(part, n, count))
        elif coder == OWN_TABLE:
            streams.append(decode(part[count:], n, FrequencyTable.from_bytes(part[:count])))
        elif coder == ADAPTIVE:
            streams.append(decode_adaptive(part, n, count))
        elif coder == SHARED_TABLE and count in shared:
            streams.append(decode(part, n, shared[count]))
        else:
            raise ValueError("a stream is coded in an unknown way")
    if position != len(data):
        raise ValueError("there are bytes left over")
    return streams
