"""Integer kernels compute what the graph says, on processors that add products in 16 bits, too."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from torch import nn

from compression.artifact.graph import GraphReport, calibrate_activations, compile_graph, integers
from compression.artifact.graph.execution import PROVIDERS, open_session, session_options
from compression.layers import weight_layers
from compression.metrics.environment import int8_weight_bits
from compression.state import state_of
from compression.techniques import get_technique, quantization
from tests.techniques.networks import Subject, subject


def one_sided(kind: str) -> Subject:
    """Weights of one sign: an affine grid counts them from 0 to its last value, and their products add up."""
    made = subject(kind, model_key=f"one-sided {kind}")
    for _, layer in weight_layers(made.model):
        layer.weight.abs_().add_(0.02)
    return made


def quantized(made: Subject, *steps: dict[str, Any]) -> nn.Module:
    technique, model = get_technique("quantization"), copy.deepcopy(made.model)
    for knobs in steps:
        model = technique.function(model, technique.config_type(**knobs), made.context)
    return model.eval()


def compiled(made: Subject, model: nn.Module, path: Path) -> GraphReport:
    inputs = made.context.calibration_inputs
    grids = calibrate_activations(model, inputs[:1], inputs, None)
    return compile_graph(model, inputs[:1], path, activation_grids=grids, cache_dir=None)


def departure(path: Path, inputs: np.ndarray) -> float:
    """Mean difference of the integer kernels from the same graph's nodes one by one in float, relative to outputs."""
    proto, options = onnx.load(path), session_options()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = ort.InferenceSession(proto.SerializeToString(), options, providers=PROVIDERS)
    found, wanted = (own.run(["output"], {"input": inputs})[0] for own in (open_session(proto), plain))
    return float(np.abs(found - wanted).mean() / np.abs(wanted - wanted.mean()).mean())


W8A8 = {"weight_bits": 8, "activation_bits": 8}
AFFINE = {"weight_bits": 7, "activation_bits": 8, "symmetry": "affine"}


@pytest.mark.parametrize("knobs", [W8A8, AFFINE, {**AFFINE, "granularity": "tensor", "range": "minmax"}])
@pytest.mark.parametrize("kind", ["residual", "gpt"])
def test_integer_kernels_compute_what_the_graph_says(kind: str, knobs: dict[str, Any], tmp_path: Path) -> None:
    made = one_sided(kind)
    report = compiled(made, quantized(made, knobs), tmp_path / "m.onnx")
    assert set(report.kernels.values()) == {"int8"}, report.reasons
    assert departure(tmp_path / "m.onnx", made.context.calibration_inputs.numpy()) < 0.02


def test_wide_weights_of_a_later_step_stay_off_kernels_that_overflow(tmp_path: Path) -> None:
    made = one_sided("residual")
    model = quantized(made, W8A8, {"weight_bits": 8})  # the second step brings the 8 bits back
    report = compiled(made, model, tmp_path / "m.onnx")
    overflows = int8_weight_bits() == 7
    assert set(report.kernels.values()) == {"float32" if overflows else "int8"}
    assert all(("would overflow" in report.reasons.get(fqn, "")) == overflows for fqn in report.kernels)
    assert departure(tmp_path / "m.onnx", made.context.calibration_inputs.numpy()) < 0.02


@pytest.mark.parametrize(("most", "limit"), [(7, 64), (8, 127)])
def test_affine_grids_reach_no_farther_than_the_kernels_take(
    most: int, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "int8_weight_bits", lambda: most)
    monkeypatch.setattr(integers, "int8_symbol_limit", lambda: limit)
    made = one_sided("residual")
    model = quantized(made, AFFINE)
    compiled(made, model, tmp_path / "m.onnx")
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    symbols = [v for name, v in tensors.items() if name.endswith(".weight.symbols")]
    assert len(symbols) == len(list(weight_layers(model)))
    largest = max(int(np.abs(own.astype(int)).max()) for own in symbols)
    assert (64 < largest <= 127) if most == 8 else largest <= 63
    affine = [getattr(grid, "zero_point", None) is not None for grid in state_of(model).encodings.values()]
    assert any(affine) == (most == 8)
    (note,) = [own for own in made.context.report.notes if "symmetric" in own][:1]
    assert note.startswith("stem is at")
