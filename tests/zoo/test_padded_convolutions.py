"""Convolutions of TensorFlow's SAME padding and of standardized weights, through every recipe of the timm contract."""

import copy
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.artifact.graph.execution import open_session
from compression.context import CompressionContext, StepReport
from compression.layers import custom_layers, weight_layers
from compression.structure.factorized import FactorizedConv2d, TuckerConv2d
from compression.techniques import get_technique
from models.preparing import bake, prepare
from tests.benchmarks.timm_contract import RECIPES, deviation
from tests.zoo.settling import pictures, settle

layers = pytest.importorskip("timm.layers")


@pytest.fixture(scope="module")
def subject() -> CompressionContext:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(
        layers.Conv2dSame(3, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
        layers.Conv2dSame(16, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        layers.Conv2dSame(32, 32, 4, stride=2, groups=32), nn.BatchNorm2d(32), nn.ReLU(),
        layers.StdConv2dSame(32, 32, 3, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    ), pictures(16, 32)
    model = bake(prepare(model))
    settle(model, inputs)
    with torch.inference_mode():
        targets = model(inputs).argmax(-1).clone()
    return CompressionContext(
        original=model, example_input=inputs[:1], calibration_inputs=inputs, calibration_targets=targets,
        training_batches=lambda epoch: iter(()), task="image_classification", model_key="padded", data_key="random",
    )


def test_they_are_plain_layers(subject: CompressionContext) -> None:
    assert not custom_layers(subject.original)
    assert [fqn for fqn, _ in weight_layers(subject.original)] == ["0", "3", "6", "9", "14"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_acts_and_its_graph_computes_the_same(
    subject: CompressionContext, recipe: str, tmp_path: Path
) -> None:
    model, report, step = copy.deepcopy(subject.original), StepReport(), RECIPES[recipe]
    inputs = subject.calibration_inputs
    if step is not None:
        technique = get_technique(step[0])
        config = technique.config_type(**{**step[1], **({"rank_ratio": 0.4} if recipe == "low rank" else {})})
        model = technique.function(model, config, replace(subject, report=report)).eval()
        assert report.changed
    grids = calibrate_activations(model, inputs[:1], inputs, tmp_path)
    compile_graph(model, inputs[:1], tmp_path / "m", activation_grids=grids, cache_dir=tmp_path, samples=inputs)
    found = open_session(onnx.load(tmp_path / "m")).run(["output"], {"input": inputs.numpy()})[0]
    with torch.inference_mode():
        wanted = model(inputs).numpy()
    assert deviation(found, wanted) < (0.3 if grids else 1e-4)
    if recipe == "low rank":
        assert any(isinstance(module, FactorizedConv2d | TuckerConv2d) for module in model.modules())
    if recipe == "channel pruning":
        assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in subject.original.parameters())
