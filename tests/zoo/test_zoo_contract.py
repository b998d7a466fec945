"""What every architecture of the zoo owes: each technique acts or says why not, units go for good, int8 is real."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compression.artifact.graph import calibrate_activations, compile, compile_graph
from compression.artifact.graph.execution import open_session
from compression.artifact.graph.lowering import Lowering
from compression.artifact.packing import load_packed, model_tensors, pack_model, unpack_model
from compression.context import StepReport
from compression.core.errors import NotApplicableError
from compression.layers import weight_layers
from compression.metrics.macs import count_macs
from compression.structure import ChannelGroup, find_groups, remove_units
from compression.techniques import get_technique, list_techniques
from tests.techniques.networks import Subject
from tests.zoo.networks import NETWORKS, zoo_subject

SETTINGS = {
    "distillation": {"epochs": 1}, "recovery": {"epochs": 1}, "block_sharing": {"n_unique_blocks": 1},
    "weight_pruning": {"criterion": "wanda"}, "weight_sharing": {"n_clusters": 4, "weighting": "uniform"},
    "low_rank": {"method": "svd"}, "binarization": {"threshold": "twn"},
}
WITHOUT_REPEATED_BLOCKS = {
    "resnet18", "resnet50", "mobilenet_v3_small", "efficientnet_b0", "shufflenet_v2_x1_0", "regnet_y_400mf",
    "cifar_resnet", "cifar_resnet8",
}
EXPORTED = ("efficientnet_b0", "squeezenet1_1", "shufflenet_v2_x1_0", "convnext_tiny", "vit_b_16", "cifar_convmixer")


def groups_of(made: Subject) -> list[ChannelGroup]:
    context = made.context
    return find_groups(made.model, context.example_input, context.model_key, context.protected[-1:])[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_each_technique_acts_or_says_why_not(name: str, tmp_path: Path) -> None:
    refused = set()
    made = zoo_subject(name)
    untouched = {key: value.clone() for key, value in model_tensors(made.model).items()}
    inputs = made.context.calibration_inputs
    for technique in list_techniques():
        context = replace(made.context, report=StepReport())
        config = technique.config_type(**SETTINGS.get(technique.key, {}))
        try:
            model = technique.function(copy.deepcopy(made.model), config, context).eval()
        except NotApplicableError as error:
            assert "\n" not in str(error)
            refused.add(technique.key)
            continue
        assert context.report.changed or (technique.key == "recovery" and context.report.notes), technique.key
        with torch.inference_mode():
            output = model(inputs)
        assert output.shape == (*made.context.calibration_targets.shape, 5) and torch.isfinite(output).all()
        pack_model(model, tmp_path / "weights")
        again = copy.deepcopy(model)
        load_packed(again, unpack_model(tmp_path / "weights"))
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
    assert refused == ({"block_sharing", "distillation"} if name in WITHOUT_REPEATED_BLOCKS else set())
    assert all(torch.equal(value, untouched[key]) for key, value in model_tensors(made.model).items())


@pytest.mark.parametrize("name", NETWORKS)
def test_removal_equals_silencing(name: str) -> None:
    """Of every group half of the units; what read them reads zeros instead, and gives the same."""
    made = zoo_subject(name)
    inputs = made.context.calibration_inputs[:2]
    groups = [group for group in groups_of(made) if not group.coupled]
    assert groups
    for group in groups:
        cut, quiet = copy.deepcopy(made.model), copy.deepcopy(made.model)
        keep = torch.arange(1, group.units, 2)
        gone = torch.arange(0, group.units, 2)
        remove_units(cut, group, keep)
        rows = (gone[:, None] * group.width + torch.arange(group.width)).flatten()
        for fqn in group.consumers():
            quiet.get_submodule(fqn).weight.data[:, rows] = 0
        with torch.inference_mode():
            torch.testing.assert_close(cut(inputs), quiet(inputs), rtol=1e-3, atol=1e-4)
        assert count_macs(cut, inputs).total < count_macs(made.model, inputs).total


@pytest.mark.parametrize(
    ("name", "producers", "width"),
    [
        ("mobilenet_v3_small", {"features.1.block.1.fc2", "features.0.0"}, 1),
        ("regnet_y_400mf", {"trunk_output.block1.block1-0.f.a.0", "trunk_output.block1.block1-0.f.se.fc2"}, 8),
        ("squeezenet1_1", {"features.3.expand1x1", "features.3.expand3x3"}, 1),
    ],
    ids=["gate", "grouped convolution", "concatenation"],
)
def test_channels_of_gates_groups_and_concatenations_go_together(name: str, producers: set[str], width: int) -> None:
    found = [group for group in groups_of(zoo_subject(name)) if set(group.producers()) == producers]
    assert [(group.width, group.coupled) for group in found] == [(width, False)]


def test_modules_side_by_side_keep_whole_blocks_of_channels() -> None:
    made = zoo_subject("squeezenet1_1")
    technique = get_technique("channel_pruning")
    for ratio in (0.5, 0.95):
        config = technique.config_type(pruning_ratio=ratio, round_to=8, scope="layer")
        model = technique.function(copy.deepcopy(made.model), config, replace(made.context, report=StepReport()))
        widths = [len(model.get_submodule(f"features.{i}.expand{k}x{k}").weight) for i in (3, 4) for k in (1, 3)]
        assert all(width >= 8 and width % 8 == 0 for width in widths) and sum(widths) < 128


def test_a_network_that_cannot_be_traced_is_pruned_along_its_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: object) -> None:
        raise NotApplicableError("its structure could not be traced (an error)")

    monkeypatch.setattr("compression.structure.groups.traced_groups", failing)
    made = zoo_subject("shufflenet_v2_x1_0", seed=1)
    context = made.context
    groups, reasons = find_groups(made.model, context.example_input, context.model_key, context.protected[-1:])
    assert {group.name for group in groups} >= {"stage2.0.branch2.0", "stage2.1.branch2.0", "stage4.0.branch2.0"}
    depthwise = [[m.fqn for m in group.members if m.role == "depthwise"] for group in groups]
    assert ["stage2.0.branch2.3"] in depthwise
    assert any("could not be traced" in reason for reason in reasons.values())
    for group in groups:
        cut = copy.deepcopy(made.model)
        remove_units(cut, group, torch.arange(0, group.units, 2))
        assert torch.isfinite(cut(context.example_input)).all()


def test_heads_take_their_columns_of_the_position_table_with_them() -> None:
    made = zoo_subject("swin_t")
    group = next(group for group in groups_of(made) if group.kind == "head" and group.units == 4)
    model = copy.deepcopy(made.model)
    remove_units(model, group, torch.tensor([0, 3]))
    attention = group.name.rpartition(".")[0]
    before, after = (m.get_submodule(attention).relative_position_bias_table for m in (made.model, model))
    assert torch.equal(after, before[:, [0, 3]])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", EXPORTED)
def test_a_pruned_network_runs_on_integer_kernels_without_an_export_of_its_own(
    name: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exported(*arguments: object) -> None:
        raise AssertionError("the template did not fit")

    monkeypatch.setattr(compile, "export_model", exported)
    made = zoo_subject(name)
    example, model = made.context.example_input, copy.deepcopy(made.model)
    compile_graph(model, example, tmp_path / "whole.onnx", cache_dir=cache)
    steps = (
        ("channel_pruning", {"pruning_ratio": 0.5, "scope": "layer"}), ("quantization", {"activation_bits": 8})
    )
    for key, knobs in steps:
        technique = get_technique(key)
        context = replace(made.context, report=StepReport())
        model = technique.function(model, technique.config_type(**knobs), context).eval()
    grids = calibrate_activations(model, example, made.context.calibration_inputs, cache)
    report = compile_graph(model, example, tmp_path / "int8.onnx", activation_grids=grids, cache_dir=cache)
    assert set(report.kernels.values()) == {"int8"} and not report.reasons
    assert set(report.kernels) == {fqn for fqn, _ in weight_layers(model)}
    inputs = made.context.calibration_inputs
    session = open_session(onnx.load(tmp_path / "int8.onnx"))
    found = session.run(["output"], {"input": inputs.numpy()})[0]
    with torch.inference_mode():
        wanted = model(inputs).numpy()
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.9


def test_a_parameter_that_was_folded_into_a_constant_is_noticed(tmp_path: Path) -> None:
    """A template that does not hold it would keep random values, whether or not the output shows it."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.scale = nn.Linear(4, 3), nn.Parameter(torch.full((1,), 1e-6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x) + self.scale * 2.0

    model, example = Scaled().eval(), torch.randn(1, 4)
    base = compile.load_template(model, example, Lowering(), None)
    assert compile._holds_parameters(base, model, Lowering())
    for tensor in base.graph.initializer:
        if tensor.name == "scale":
            tensor.name = "folded"
    assert not compile._holds_parameters(base, model, Lowering())
