"""What the instruction sets of a processor mean for integer weights."""

import pytest

from compression.metrics import environment
from compression.metrics.environment import int8_symbol_limit, int8_weight_bits


@pytest.mark.parametrize(
    ("instructions", "bits"),
    [("avx2", 7), ("avx2 avx512f", 7), ("avx2 avx512f avx512_vnni", 8), ("avx2 avx_vnni", 8), ("asimddp", 8), ("", 8)],
)
def test_integer_weights_are_narrower_on_x86_without_vnni(
    instructions: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "environment_record", lambda: {"instructions": instructions})
    assert int8_weight_bits.__wrapped__() == bits


@pytest.mark.parametrize(("bits", "limit"), [(7, 64), (8, 127)])
def test_two_products_of_the_largest_number_fit_sixteen_bits(
    bits: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "int8_weight_bits", lambda: bits)
    assert int8_symbol_limit() == limit
    assert (2 * 255 * limit < 2**15) == (bits == 7)
