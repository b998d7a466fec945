"""Packed files: what is written comes back bit by bit, and damage is noticed."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from compression.artifact.packing import load_packed, pack_model, unpack_model
from compression.core.errors import InputError
from compression.grids import codebook_indices, decode_codebook, dequantize, symbol_range
from compression.state import ActivationQuantization, Codebook, Encoding, HalfPrecision, UniformGrid, state_of
from tests.artifact.networks import residual

SHAPES = ((6, 8), (4, 3, 3, 3), (8, 16), (1, 8), (5, 1, 2, 2))
SCALES = st.sampled_from(("tensor", "channel", "group"))


class Holder(nn.Module):
    """One parameter, to be packed."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(value, requires_grad=False)


def bits_of(value: Tensor) -> Tensor:
    return (value + 0.0).contiguous().view(torch.int32) if value.dtype == torch.float32 else value


def round_trip(path: Path, value: Tensor, encoding: Encoding | None) -> tuple[Tensor, Encoding | None, int]:
    """Pack one tensor, read it back; its values, its encoding and the file's size."""
    model = Holder(value)
    if encoding is not None:
        state_of(model).encodings["weight"] = encoding
    report = pack_model(model, path)
    assert not report.notes
    assert report.size_bytes == path.stat().st_size
    packed = unpack_model(path)
    return packed.tensors["weight"], packed.encodings.get("weight"), report.size_bytes


def make_grid(shape: tuple[int, ...], bits: int, per: str, affine: bool, generator: torch.Generator) -> UniformGrid:
    group = 4 if per == "group" and torch.Size(shape[1:]).numel() % 4 == 0 else 0
    size: tuple[int, ...] = (1,) if per == "tensor" else (shape[0],)
    if group:
        size = (shape[0], torch.Size(shape[1:]).numel() // group)
    scale = torch.rand(size, generator=generator) + 0.01
    zero = torch.randint(0, 2**bits, size, generator=generator, dtype=torch.int32) if affine else None
    return UniformGrid(bits, scale, zero, group)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(SHAPES), bits=st.integers(2, 8), per=SCALES, affine=st.booleans(), seed=st.integers(0, 999),
    zeros=st.sampled_from((0.0, 0.5, 1.0)),
)
def test_every_grid_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], bits: int, per: str, affine: bool, seed: int,
    zeros: float,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    grid = make_grid(shape, bits, per, affine, generator)
    low, high = symbol_range(grid)
    symbols = torch.randint(low, high + 1, shape, generator=generator, dtype=torch.int32)
    value = dequantize(symbols, grid)
    if not affine:
        value = value * (torch.rand(shape, generator=generator) >= zeros)
    found, encoding, _ = round_trip(tmp_path_factory.mktemp("pack") / "w", value, grid)
    assert torch.equal(bits_of(found), bits_of(value))
    assert isinstance(encoding, UniformGrid)
    assert (encoding.bits, encoding.group_size) == (grid.bits, grid.group_size)
    assert torch.equal(encoding.scale, grid.scale)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from(SHAPES), count=st.sampled_from((2, 3, 5, 16, 17, 256)), scaled=st.booleans(),
    seed=st.integers(0, 999),
)
def test_every_codebook_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], count: int, scaled: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, generator=generator).sort().values
    codebook = Codebook(values, torch.rand(shape[0], generator=generator) + 0.1 if scaled else None)
    value = decode_codebook(torch.randint(0, count, shape, generator=generator), codebook)
    found, encoding, _ = round_trip(tmp_path_factory.mktemp("pack") / "w", value, codebook)
    assert torch.equal(bits_of(found), bits_of(value))
    assert isinstance(encoding, Codebook)


def test_entries_closer_than_the_rounding_of_their_scale_come_back() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(64, generator=generator) + 0.5
    entries = torch.cat([first, first.nextafter(torch.tensor(9.0))])
    codebook = Codebook(entries, torch.rand(8, generator=generator) + 0.1)
    value = decode_codebook(torch.arange(128).repeat(8, 1), codebook)
    assert torch.equal(decode_codebook(codebook_indices(value, codebook), codebook), value)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_takes_half_the_bytes(tmp_path: Path, dtype: str) -> None:
    torch.manual_seed(0)
    value = torch.randn(64, 64).to(getattr(torch, dtype)).float()
    found, encoding, size = round_trip(tmp_path / "w", value, HalfPrecision(dtype))  # type: ignore[arg-type]
    assert torch.equal(bits_of(found), bits_of(value))
    assert encoding == HalfPrecision(dtype)  # type: ignore[arg-type]
    assert size < 2 * value.numel() + 300


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([0.0, -0.0, 1e-42, -1e-42, 3.4e38, float("inf"), float("-inf")]), torch.tensor(2.5),
        torch.zeros(0), torch.zeros(0, 3), torch.zeros(700), torch.linspace(-1, 1, 700), torch.arange(5),
        torch.tensor([True, False]), torch.arange(6, dtype=torch.uint8), torch.tensor([1.5], dtype=torch.float64),
    ],
    ids=str,
)
def test_special_values_and_shapes(tmp_path: Path, value: Tensor) -> None:
    model = nn.Module()
    model.register_buffer("weight", value)
    pack_model(model, tmp_path / "w")
    found = unpack_model(tmp_path / "w").tensors["weight"]
    assert found.dtype == value.dtype and found.shape == value.shape
    assert torch.equal(found, value)


def test_a_false_claim_is_noted_and_nothing_is_rounded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Holder(torch.randn(8, 8))
    state_of(model).encodings["weight"] = UniformGrid(4, torch.ones(1))
    report = pack_model(model, tmp_path / "w")
    assert "weight" in report.notes[0]
    packed = unpack_model(tmp_path / "w")
    assert torch.equal(packed.tensors["weight"], model.weight)
    assert not packed.encodings


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    apart = pack_model(model, tmp_path / "apart").size_bytes
    model[1].weight = model[0].weight
    together = pack_model(model, tmp_path / "together")
    assert together.size_bytes < 0.55 * apart
    tensors = unpack_model(tmp_path / "together").tensors
    assert torch.equal(tensors["0.weight"], tensors["1.weight"])


def test_few_symbols_and_zeros_make_small_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    dense = torch.randn(128, 128)
    sparse = torch.where(torch.rand(128, 128) > 0.9, dense, torch.zeros(()))
    grid = UniformGrid(2, torch.ones(1))
    coarse = torch.randint(-1, 2, (128, 128)).float()
    plain = round_trip(tmp_path / "a", dense, None)[2]
    assert round_trip(tmp_path / "b", sparse, None)[2] < 0.2 * plain
    assert round_trip(tmp_path / "c", coarse, grid)[2] < 4 * coarse.numel() / 32 * 1.7


def test_a_whole_model_with_settings_comes_back(tmp_path: Path) -> None:
    model, inputs = residual()
    state = state_of(model)
    state.activations, state.compute_dtype = ActivationQuantization(8, "mse", 99.9, ("linear",)), None
    grids = {"relu": (0.03125, 3, 8)}
    with torch.inference_mode():
        wanted = model(inputs)
    pack_model(model, tmp_path / "w", activation_grids=grids)
    other, _ = residual(seed=1)
    packed = unpack_model(tmp_path / "w")
    load_packed(other, packed)
    with torch.inference_mode():
        assert torch.equal(other.eval()(inputs), wanted)
    assert packed.activation_grids == grids
    assert state_of(other).activations == state.activations


def test_damage_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    """Each file is refused with one clear line; none is read as something else."""
    model, _ = residual()
    pack_model(model, tmp_path / "w")
    data = (tmp_path / "w").read_bytes()
    flipped = [bytearray(data) for _ in range(0, len(data), 23)]
    for i, own in enumerate(flipped):
        own[i * 23] ^= 0x41
    cuts = [data[:length] for length in range(0, len(data), 97)]
    for damaged in [*map(bytes, flipped), *cuts, b"PK\x03\x04" + data, data + b"more", bytes(500)]:
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            unpack_model(tmp_path / "damaged")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    model, _ = residual()
    pack_model(model, tmp_path / "w")
    with pytest.raises(InputError):
        load_packed(nn.Linear(3, 4), unpack_model(tmp_path / "w"))
