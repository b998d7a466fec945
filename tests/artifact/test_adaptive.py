"""Adaptive range coding: what is coded comes back, takes about the bits that were predicted, and damage is noticed."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression.artifact.packing.adaptive import _prior, choose_contexts, decode_adaptive, encode_adaptive
from compression.artifact.packing.symbols import FrequencyTable, encode

SHAPES = ((1,), (7,), (40, 3), (16, 16, 3, 3), (64, 1, 3, 3), (96, 64))


def drawn(shape: tuple[int, ...], spread: float, seed: int) -> tuple[np.ndarray, int]:
    """Symbols of a two-sided distribution whose width differs from row to row, and the size of their alphabet."""
    rng = np.random.default_rng(seed)
    widths = spread * np.exp(rng.normal(0, 0.7, shape[0])).reshape(-1, *[1] * (len(shape) - 1))
    whole = np.clip(np.rint(rng.laplace(0, 1, shape) * widths), -127, 127).astype(np.int32).ravel()
    return whole - whole.min(), int(whole.max() - whole.min()) + 1


@settings(max_examples=60, deadline=None)
@given(shape=st.sampled_from(SHAPES), spread=st.sampled_from((0.1, 1.0, 8.0, 60.0)), seed=st.integers(0, 99))
def test_a_coded_tensor_comes_back_and_takes_the_predicted_bits(
    shape: tuple[int, ...], spread: float, seed: int
) -> None:
    symbols, count = drawn(shape, spread, seed)
    if count < 2:
        return
    contexts, bits = choose_contexts(symbols, shape, count)
    data = encode_adaptive(symbols, contexts, count)
    assert np.array_equal(decode_adaptive(data, len(symbols), count), symbols)
    assert abs(8 * len(data) - bits) <= 64 + 0.06 * bits


def test_rows_of_different_spread_take_fewer_bytes_than_with_one_table() -> None:
    symbols, count = drawn((64, 64, 3, 3), 3.0, 0)
    contexts, _ = choose_contexts(symbols, (64, 64, 3, 3), count)
    table = FrequencyTable.of_counts(np.bincount(symbols, minlength=count))
    assert len(contexts.levels) > 1
    assert len(encode_adaptive(symbols, contexts, count)) < 0.97 * (len(encode(symbols, table)) + count)


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 400), byte=st.integers(0, 255), cut=st.integers(0, 60))
def test_damaged_bytes_are_refused_or_decode_to_the_same_number_of_symbols(place: int, byte: int, cut: int) -> None:
    symbols, count = drawn((16, 64), 4.0, 1)
    data = bytearray(encode_adaptive(symbols, choose_contexts(symbols, (16, 64), count)[0], count))
    data[place % len(data)] = byte
    try:
        found = decode_adaptive(bytes(data[: len(data) - cut]), len(symbols), count)
    except (ValueError, AssertionError):
        return
    assert len(found) == len(symbols) and 0 <= found.min() <= found.max() < count


def test_first_frequencies_are_the_same_on_every_machine() -> None:
    """They are part of the file format: another value would make files of earlier versions unreadable."""
    tables = b"".join(_prior(count, level, center).tobytes() for count, level, center in (
        (2, 0, 0), (3, 5, 1), (15, 12, 7), (127, 20, 63), (255, 31, 100),
    ))
    assert hashlib.sha256(tables).hexdigest()[:16] == "1a7e5c25f552a318"
    assert all((_prior(255, level, 127) > 0).all() for level in range(32))


DAMAGED = [b"", b"\x80\x80\x80\x80\x80\x80", b"\x00\x05\x01\x01\x01\x01\x01", b"\xff\x01\x01\x0c"]


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_description_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="adaptively coded"):
        decode_adaptive(data, 10, 5)
