"""Recurrent, transposed, one- and three-dimensional and attention layers: each technique acts, the graph agrees."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.artifact.graph.execution import open_session
from compression.artifact.packing import load_packed, pack_model, unpack_model
from compression.context import StepReport
from compression.core.errors import NotApplicableError
from compression.layers import weight_layers
from compression.metrics.macs import count_macs
from compression.other_weights import other_modules, other_weights
from compression.state import state_of
from compression.techniques import get_technique
from tests.techniques.networks import Subject
from tests.zoo.ordinary_networks import CLASSES, ORDINARY, Recurrent, ordinary_subject

# technique, knobs, most error of the outputs relative to their deviation, most bytes relative to the baseline's
STEPS: list[tuple[str, dict[str, Any], float, float]] = [
    ("quantization", {"activation_bits": 8}, 0.15, 0.55),
    ("quantization", {"weight_bits": 4}, 0.40, 0.45),
    ("quantization", {"weight_bits": 16}, 0.03, 0.65),
    ("weight_pruning", {"sparsity": 0.3}, 0.75, 0.95),
    ("weight_sharing", {"n_clusters": 16}, 0.40, 0.50),
    ("binarization", {}, 1.50, 0.40),
    ("entropy_quantization", {"rate": 3.0}, 1.00, 0.35),
    ("low_rank", {"rank_ratio": 0.9}, 0.90, 1.0),
    ("channel_pruning", {"pruning_ratio": 0.3}, 1.00, 1.0),
]
BEFORE_FLOAT = {"transposed": {"0"}}  # read as float values by a layer without integer kernel
WITHOUT_UNITS = {"lstm", "gru", "rnn", "one_axis", "three_axes", "transposed"}


def compressed(made: Subject, key: str, knobs: dict[str, Any]) -> tuple[nn.Module, StepReport]:
    technique, report = get_technique(key), StepReport()
    config = technique.config_type(**knobs)
    model = technique.function(copy.deepcopy(made.model), config, replace(made.context, report=report))
    return model.eval(), report


def deviation(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted - wanted.mean(0)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", ORDINARY)
def test_each_technique_acts_as_on_plain_networks_and_the_graph_agrees(name: str, cache: Path, tmp_path: Path) -> None:
    made, refused = ordinary_subject(name), set()
    example, inputs = made.context.example_input, made.context.calibration_inputs
    original = made.model(inputs).numpy()
    baseline = pack_model(made.model, tmp_path / "baseline").size_bytes
    for key, knobs, most_error, most_bytes in STEPS:
        try:
            model, report = compressed(made, key, knobs)
        except NotApplicableError as error:
            assert "\n" not in str(error)
            refused.add(key)
            continue
        grids = calibrate_activations(model, example, inputs, cache)
        packing = pack_model(model, tmp_path / "weights", activation_grids=grids or None)
        load_packed(model, unpack_model(tmp_path / "weights"))
        graph = compile_graph(model, example, tmp_path / "m.onnx", activation_grids=grids or None, cache_dir=cache)
        found = open_session(onnx.load(tmp_path / "m.onnx")).run(["output"], {"input": inputs.numpy()})[0]
        with torch.inference_mode():
            own = model(inputs).numpy()
        assert deviation(found, own) < (0.15 if grids else 1e-4), (key, knobs)
        assert deviation(own, original) < most_error, (key, knobs)
        assert packing.size_bytes < most_bytes * baseline and not packing.notes, (key, knobs)
        if grids:
            floats = {fqn for fqn, kernel in graph.kernels.items() if kernel != "int8"}
            assert floats == set(graph.reasons) == BEFORE_FLOAT.get(name, set())
        others = {fqn for fqn, _ in other_modules(model)}
        if key in ("low_rank", "channel_pruning"):
            assert others <= set(report.skipped)
        elif key != "quantization" or knobs.get("weight_bits") != 16:
            assert {*others, *(fqn for fqn, _ in weight_layers(model))} <= set(report.changed)
    assert refused == ({"channel_pruning"} if name in WITHOUT_UNITS else set())


@pytest.mark.parametrize("name", ["lstm", "transposed", "three_axes"])
def test_encoded_weights_stay_encoded_in_the_graph(name: str, cache: Path, tmp_path: Path) -> None:
    made = ordinary_subject(name)
    model, _ = compressed(made, "quantization", {"weight_bits": 4})
    compile_graph(model, made.context.example_input, tmp_path / "m.onnx", cache_dir=cache)
    held = {tensor.name: tensor for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer}
    for weight in other_weights(model):
        assert weight.name not in held and held[f"{weight.name}.symbols"].data_type == onnx.TensorProto.INT4


def test_patterns_overrides_and_masks_reach_recurrent_layers() -> None:
    made = ordinary_subject("lstm")
    made.context.exclude = ("rnn",)
    model, report = compressed(made, "weight_pruning", {"sparsity": 0.5})
    assert report.skipped["rnn"] == "excluded by the step" and "rnn" not in report.changed
    made.context.exclude, made.context.overrides = (), {"rnn": {"sparsity": 0.75}}
    model, _ = compressed(made, "weight_pruning", {"sparsity": 0.5})
    made.context.overrides = {}
    masks = state_of(model).masks
    assert float(masks["rnn.weight_hh_l0"].float().mean()) == 0.25
    again, _ = compressed(Subject(model, made.context), "quantization", {"weight_bits": 4})
    assert bool((again.rnn.weight_hh_l0[~masks["rnn.weight_hh_l0"]] == 0).all())


def test_multiply_accumulates_of_recurrent_and_transposed_layers_are_counted() -> None:
    recurrent = Recurrent("LSTM").eval().requires_grad_(False)
    counted = count_macs(recurrent, torch.randn(1, 1, 16, 16))
    assert counted.by_layer == {"rnn": 4 * 4 * 12 * (16 + 12), "head": 12 * CLASSES}
    assert counted.total == sum(counted.by_layer.values())
    upward = nn.ConvTranspose2d(4, 6, 2, 2).eval().requires_grad_(False)
    assert count_macs(nn.Sequential(upward), torch.randn(1, 4, 3, 5)).by_layer == {"0": 3 * 5 * 4 * 6 * 4}
