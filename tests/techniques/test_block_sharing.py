"""Block sharing: weights are stored once, norms stay apart, the value chosen is the best of the candidates."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from compression.artifact.packing import load_packed, pack_model, unpack_model
from compression.calibration.finish import distance_from_original
from compression.context import CompressionContext, StepReport
from compression.core.errors import NotApplicableError
from compression.layers import weight_layers
from compression.structure.depth import drop_every_other_block
from compression.techniques import block_sharing, get_technique
from compression.training import TrainingSettings, fine_tune
from tests.techniques.networks import KINDS, subject

SHARING = get_technique("block_sharing")


def shared(kind: str, unique: int = 1) -> tuple[nn.Module, CompressionContext]:
    made = subject(kind)
    config = SHARING.config_type(n_unique_blocks=unique)
    return SHARING.function(copy.deepcopy(made.model), config, made.context), made.context


def blocks_equal(model: nn.Module, first: int, second: int) -> bool:
    pair = [[m.weight for _, m in weight_layers(model.blocks[i])] for i in (first, second)]
    return all(torch.equal(a, b) for a, b in zip(*pair, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_one_unique_block_makes_all_equal_and_is_stored_once(kind: str, tmp_path: Path) -> None:
    model, context = shared(kind)
    assert all(blocks_equal(model, 0, i) for i in range(1, len(model.blocks)))
    report = pack_model(model, tmp_path / "shared")
    names = [f"blocks.1.{fqn}.weight" for fqn, _ in weight_layers(model.blocks[1])]
    assert {report.encoding_by_tensor[name] for name in names} == {"shared"}
    assert report.size_bytes < pack_model(context.original, tmp_path / "whole").size_bytes


def test_neighbours_are_shared_first() -> None:
    model, _ = shared("residual", unique=2)
    equal = [blocks_equal(model, 0, 1), blocks_equal(model, 1, 2)]
    assert sum(equal) == 1
    assert not blocks_equal(model, 0, 2)


def test_the_value_is_the_best_of_the_blocks_and_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked before layer norms are corrected."""
    monkeypatch.setattr(block_sharing, "finish_step", lambda model, context: None)
    model, context = shared("vision_transformer")
    sources = [[m.weight for _, m in weight_layers(context.original.blocks[i])] for i in (0, 1)]
    mean = [(a + b) / 2 for a, b in zip(*sources, strict=True)]
    distances = []
    for values in (*sources, mean):
        trial = copy.deepcopy(context.original)
        for block in trial.blocks:
            for (_, layer), value in zip(weight_layers(block), values, strict=True):
                layer.weight.data = value.clone()
        distances.append(_distance(trial, context))
    assert _distance(model, context) == pytest.approx(min(distances), rel=1e-5)
    assert min(distances) < max(distances)


@torch.inference_mode()
def _distance(model: nn.Module, context: CompressionContext) -> float:
    return distance_from_original(model(context.calibration_inputs), context)


def test_weights_stay_shared_through_a_training_and_a_reload(tmp_path: Path) -> None:
    model, context = shared("residual")
    before = copy.deepcopy(model)
    fine_tune(model, context, TrainingSettings(epochs=10, learning_rate=0.005))
    assert not torch.equal(model.blocks[0].conv1.weight, before.blocks[0].conv1.weight)
    assert blocks_equal(model, 0, 1)
    assert blocks_equal(model, 0, 2)
    assert not torch.equal(model.blocks[0].bn1.weight, model.blocks[1].bn1.weight), "norms are each block's own"
    pack_model(model, tmp_path / "shared")
    loaded = copy.deepcopy(before)
    load_packed(loaded, unpack_model(tmp_path / "shared"))
    for name, value in model.named_parameters(remove_duplicate=False):
        assert torch.equal(dict(loaded.named_parameters(remove_duplicate=False))[name], value), name


@pytest.mark.parametrize("after", ["quantization", "weight_pruning", "weight_sharing", "binarization"])
def test_steps_after_it_leave_the_weights_shared(after: str, tmp_path: Path) -> None:
    model, context = shared("residual")
    technique = get_technique(after)
    model = technique.function(model, technique.config_type(), context)
    report = pack_model(model, tmp_path / "weights")
    assert report.notes == []
    assert blocks_equal(model, 0, 1)
    assert report.encoding_by_tensor["blocks.1.conv1.weight"] == "shared"


def test_blocks_that_a_loop_over_a_list_runs_are_shared() -> None:
    class Looped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(64, 64), nn.GELU()) for _ in range(3))
            self.head = nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.flatten(1)
            for block in self.blocks:
                x = x + block(x)
            return self.head(x)

    torch.manual_seed(0)
    made = subject("residual")
    model, inputs = Looped().eval().requires_grad_(False), made.context.calibration_inputs
    context = replace(
        made.context, original=copy.deepcopy(model), calibration_targets=model(inputs).argmax(-1), model_key="looped",
        report=StepReport(),
    )
    technique = get_technique("block_sharing")
    technique.function(model, technique.config_type(n_unique_blocks=1), context)
    assert len({id(block[0].weight) for block in model.blocks}) == 1
    assert context.report.changed == ["blocks.0", "blocks.1", "blocks.2"]
    with pytest.raises(NotApplicableError):
        drop_every_other_block(model)


def test_a_network_without_repeated_blocks_says_so() -> None:
    made = subject("residual")
    model = copy.deepcopy(made.model)
    model.blocks = nn.Sequential(model.blocks[0])
    with pytest.raises(NotApplicableError, match="no repeated blocks"):
        SHARING.function(model, SHARING.config_type(n_unique_blocks=1), made.context)
