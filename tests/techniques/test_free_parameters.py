"""Matrices that no layer holds: quantization stores them in fewer bits, every other technique names their bytes."""

import copy
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from compression.artifact.graph import compile_graph
from compression.artifact.graph.execution import open_session
from compression.artifact.packing import load_packed, pack_model, unpack_model
from compression.context import CompressionContext
from compression.experiments.artifacts import compress
from compression.other_weights import free_parameters
from compression.recipe import recipe_from_dict
from compression.state import HalfPrecision, state_of

FREE = ["position", "mix", "splines.0", "splines.1"]


class Free(nn.Module):
    """A table of positions, a product with a bare matrix, and a list of matrices, beside two layers and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 16, 32) * 0.5)
        self.mix = nn.Parameter(torch.randn(32, 32) * 0.2)
        self.splines = nn.ParameterList([torch.randn(4, 32, 32) * 0.1, torch.randn(32, 32) * 0.2])
        self.gain = nn.Parameter(torch.ones(32))
        self.enter, self.norm, self.head = nn.Linear(64, 32), nn.LayerNorm((16, 32)), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.unfold(2, 8, 8).unfold(3, 8, 8).reshape(-1, 16, 64)
        rows = self.norm(self.enter(rows) + self.position) @ self.mix * self.gain
        bent = torch.einsum("kio,bkti->bto", self.splines[0], torch.stack([torch.sin(rows * k) for k in range(4)], 1))
        return self.head((bent + rows @ self.splines[1]).mean(1))


@pytest.fixture(scope="module")
def subject() -> CompressionContext:
    torch.manual_seed(0)
    model, inputs = Free().eval().requires_grad_(False), torch.randn(16, 1, 32, 32)
    return CompressionContext(
        original=model, example_input=inputs[:1], calibration_inputs=inputs,
        calibration_targets=model(inputs).argmax(-1), training_batches=lambda epoch: iter(()),
        task="image_classification", model_key="free", data_key="random",
    )


def done(context: CompressionContext, **step: object) -> tuple[nn.Module, list[str]]:
    recipe = recipe_from_dict({"model": "any", "dataset": "any", "steps": [step]})
    found = compress(copy.deepcopy(context.original), recipe.steps, context)
    return found.model, found.notes


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_they_are_stored_at_eight_or_sixteen_bits(subject: CompressionContext, bits: int, tmp_path: Path) -> None:
    plain, inputs = subject.original, subject.calibration_inputs
    assert free_parameters(plain) == FREE
    model, notes = done(subject, technique="quantization", weight_bits=bits)
    report = pack_model(model, tmp_path / "w")
    found = [state_of(model).encodings[name] for name in FREE]
    assert found == [HalfPrecision()] * 4 if bits == 16 else all(grid.bits == 8 for grid in found)
    assert not report.notes  # each claim holds
    assert not any("outside" in note for note in notes)
    load_packed(model, unpack_model(tmp_path / "w"))
    compile_graph(model, inputs[:1], tmp_path / "m.onnx", cache_dir=tmp_path, samples=inputs)
    found = open_session(onnx.load(tmp_path / "m.onnx")).run(["output"], {"input": inputs.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), model(inputs), rtol=1e-3, atol=1e-4)
    for name in FREE:
        old, new = plain.get_parameter(name), model.get_parameter(name)
        assert 0 < float((new - old).abs().max()) < 0.02 * float(old.abs().max())


@pytest.mark.parametrize("step", [
    {"technique": "weight_pruning", "sparsity": 0.5}, {"technique": "weight_sharing"}, {"technique": "binarization"},
    {"technique": "low_rank", "rank_ratio": 0.5},
])
def test_other_techniques_name_them_with_their_bytes(subject: CompressionContext, step: dict[str, object]) -> None:
    model, notes = done(subject, **step)
    share = sum(subject.original.get_parameter(name).numel() for name in FREE)
    share = round(100 * share / sum(p.numel() for p in subject.original.parameters()))
    told = [note for note in notes if "outside of them" in note]
    assert len(told) == 1 and f"{', '.join(FREE)} left alone ({share} % of the uncompressed bytes)" in told[0]
    assert all(torch.equal(model.get_parameter(n), subject.original.get_parameter(n)) for n in FREE)
