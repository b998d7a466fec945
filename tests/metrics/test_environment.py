"""What the instruction sets of a processor mean for integer weights."""

import pytest

from compression.metrics import environment
from compression.metrics.environment import int8_weight_bits


@pytest.mark.parametrize(
    ("instructions", "bits"),
    [("avx2", 7), ("avx2 avx512f", 7), ("avx2 avx512f avx512_vnni", 8), ("avx2 avx_vnni", 8), ("asimddp", 8), ("", 8)],
)
def test_integer_weights_are_narrower_on_x86_without_vnni(
    instructions: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "environment_record", lambda: {"instructions": instructions})
    assert int8_weight_bits.__wrapped__() == bits
