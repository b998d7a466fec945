"""Grids and codebooks against their definitions, value by value."""

import itertools

import pytest
import torch

from compression.grids import (
    codebook_indices,
    decode_codebook,
    dequantize,
    encoding_label,
    expand_scale,
    quantize_to_grid,
    symbol_range,
)
from compression.state import Codebook, HalfPrecision, UniformGrid


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("zero", [None, 0, 1])
def test_the_nearest_level_is_taken(bits: int, zero: int | None) -> None:
    torch.manual_seed(bits)
    grid = UniformGrid(bits, torch.tensor([0.3]), None if zero is None else torch.tensor([zero], dtype=torch.int32))
    low, high = symbol_range(grid)
    levels = torch.tensor([0.3 * (q - (zero or 0)) for q in range(low, high + 1)])
    values = torch.randn(50) * 2
    found = dequantize(quantize_to_grid(values, grid), grid)
    best = (values[:, None] - levels[None]).abs().amin(1)
    assert torch.allclose((found - values).abs(), best, atol=1e-6)


def test_a_symmetric_grid_has_no_level_more_below_than_above() -> None:
    assert symbol_range(UniformGrid(4, torch.ones(1))) == (-7, 7)
    assert symbol_range(UniformGrid(4, torch.ones(1), torch.zeros(1, dtype=torch.int32))) == (0, 15)


def test_values_on_a_grid_stay_where_they_are() -> None:
    torch.manual_seed(0)
    grid = UniformGrid(5, torch.rand(6) + 0.1)
    once = dequantize(quantize_to_grid(torch.randn(6, 20) * 3, grid), grid)
    assert torch.equal(dequantize(quantize_to_grid(once, grid), grid), once)


def test_scales_reach_the_weights_they_belong_to() -> None:
    per_channel = expand_scale(torch.tensor([1.0, 2.0]), (2, 3, 1, 1))
    assert per_channel.shape == (2, 1, 1, 1)
    grouped = expand_scale(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), (2, 4), group_size=2)
    assert grouped.tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]
    assert expand_scale(torch.ones(1), (2, 3)).shape == (1, 1)


def test_a_codebook_entry_is_the_nearest_for_its_channels_scale() -> None:
    torch.manual_seed(0)
    codebook = Codebook(torch.tensor([-1.0, 0.1, 0.7]), torch.tensor([2.0, 0.5]))
    values = torch.randn(2, 30)
    found = decode_codebook(codebook_indices(values, codebook), codebook)
    for row, column in itertools.product(range(2), range(30)):
        choices = [float(v * codebook.scale[row]) for v in codebook.values]
        wanted = min(choices, key=lambda c: abs(c - float(values[row, column])))
        assert float(found[row, column]) == pytest.approx(wanted)


def test_entries_one_float_apart_are_told_apart() -> None:
    one = torch.tensor(1.0)
    entries = torch.stack([one, one.nextafter(one * 0), one.nextafter(one * 2), one * -1])
    assert codebook_indices(entries, Codebook(entries)).tolist() == [0, 1, 2, 3]


def test_a_channel_of_scale_zero_is_zero() -> None:
    codebook = Codebook(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([0.0]))
    assert decode_codebook(codebook_indices(torch.tensor([[0.0, 3.0]]), codebook), codebook).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("encoding", "label"),
    [
        (None, "float32"), (UniformGrid(4, torch.ones(1)), "4-bit grid"), (HalfPrecision("bfloat16"), "bfloat16"),
        (Codebook(torch.tensor([-1.0, 1.0])), "binary"), (Codebook(torch.tensor([-1.0, 0.0, 1.0])), "ternary"),
        (Codebook(torch.arange(5.0)), "5-entry codebook"),
    ],
)
def test_encodings_have_names(encoding: UniformGrid | Codebook | HalfPrecision | None, label: str) -> None:
    assert encoding_label(encoding) == label
