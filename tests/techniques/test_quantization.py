"""Quantization's roundings, ranges and rescalings, from the knob to the graph."""

import copy
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
from compression.calibration.hessian import damped, original_hessians
from compression.core.errors import CancelledError, InputError
from compression.layers import weight_layers
from compression.solvers.reconstruction import output_error
from compression.state import UniformGrid, state_of
from compression.techniques import get_technique, quantization
from compression.techniques.quantization import QuantizationConfig
from tests.techniques.networks import Subject, subject


def quantized(made: Subject, model: nn.Module | None = None, **knobs: Any) -> nn.Module:
    chosen = copy.deepcopy(made.model) if model is None else model
    return get_technique("quantization").function(chosen, QuantizationConfig(**knobs), made.context).eval()


def errors(made: Subject, model: nn.Module) -> dict[str, float]:
    """Output error of each linear and ungrouped layer below 8 bits."""
    found = {}
    for fqn, layer in weight_layers(model):
        hessian = original_hessians(made.context)[fqn]
        if hessian.ndim == 2 and fqn not in made.context.protected:
            change = layer.weight.detach() - made.model.get_submodule(fqn).weight
            found[fqn] = float(output_error(change.flatten(1), damped(hessian)).sum())
    return found


@pytest.mark.parametrize("kind", ["residual", "gpt"])
@pytest.mark.parametrize("bits", [2, 4])
def test_learned_rounding_is_the_best_of_the_three_in_every_layer(bits: int, kind: str) -> None:
    made = subject(kind)
    learned, feedback, nearest = (
        errors(made, quantized(made, weight_bits=bits, rounding=name)) for name in ("adaround", "gptq", "nearest")
    )
    assert all(learned[fqn] <= feedback[fqn] * (1 + 1e-5) for fqn in learned)
    assert all(learned[fqn] <= nearest[fqn] for fqn in learned)
    assert sum(learned.values()) < 0.97 * sum(feedback.values())


def test_learned_rounding_reports_progress_and_can_be_cancelled() -> None:
    seen: list[float] = []
    made = subject("residual", progress=lambda fraction, message: seen.append(fraction))
    quantized(made, weight_bits=4, rounding="adaround")
    assert len(seen) > 50 and seen == sorted(seen) and 0 <= seen[0] < seen[-1] <= 1

    calls = iter(range(1000))
    stopped = subject("residual", cancelled=lambda: next(calls) > 20)
    with pytest.raises(CancelledError):
        quantized(stopped, weight_bits=4, rounding="adaround")
    assert next(calls) < 30


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_affine_weights_are_packed_and_lowered_at_every_width(
    bits: int, granularity: str, rounding: str, tmp_path: Path
) -> None:
    made = subject("depthwise")
    knobs = {"granularity": granularity, "group_size": 16, "rounding": rounding, "protect_first_last": False}
    model = quantized(made, weight_bits=bits, symmetry="affine", **knobs)
    grid = state_of(model).encodings["blocks.0.expand.0.weight"]
    assert isinstance(grid, UniformGrid) and grid.bits == bits and grid.zero_point is not None
    assert pack_model(model, tmp_path / "weights").notes == []
    loaded = copy.deepcopy(model)
    load_packed(loaded, unpack_model(tmp_path / "weights"))
    assert all(torch.equal(p, model.get_parameter(name)) for name, p in loaded.named_parameters())
    if granularity != "tensor" or rounding == "gptq":
        return
    inputs = made.context.calibration_inputs
    compile_graph(model, inputs[:1], tmp_path / "m.onnx", cache_dir=None)
    found = open_session(onnx.load(tmp_path / "m.onnx")).run(["output"], {"input": inputs.numpy()})[0]
    np.testing.assert_allclose(found, model(inputs).numpy(), rtol=1e-3, atol=1e-4)


def test_affine_weights_run_on_integer_kernels_below_eight_bits(tmp_path: Path) -> None:
    made = subject("residual")
    model = quantized(made, weight_bits=4, activation_bits=8, symmetry="affine")
    assert [n for n in made.context.report.notes if "symmetric" in n], "the protected layers have another grid"
    inputs = made.context.calibration_inputs
    grids = calibrate_activations(model, inputs[:1], inputs, None)
    report = compile_graph(model, inputs[:1], tmp_path / "m.onnx", activation_grids=grids, cache_dir=None)
    assert set(report.kernels.values()) == {"int8"}, report.reasons


@pytest.mark.parametrize(("kernel_bits", "noted"), [(7, True), (8, False)])
def test_weights_are_as_wide_as_the_integer_kernels_take_them(
    kernel_bits: int, noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "int8_weight_bits", lambda: kernel_bits)
    made = subject("residual")
    grids = state_of(quantized(made, weight_bits=8, activation_bits=8)).encodings
    assert {grids[f"{fqn}.weight"].bits for fqn, _ in weight_layers(made.model)} == {kernel_bits}
    assert any("without VNNI" in note for note in made.context.report.notes) == noted
    made = subject("residual")
    grids = state_of(quantized(made, weight_bits=8)).encodings
    assert {grids[f"{fqn}.weight"].bits for fqn, _ in weight_layers(made.model)} == {8}, "float kernels do not overflow"


def test_seven_bits_in_the_place_of_eight_are_rounded_as_those_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "int8_weight_bits", lambda: 7)
    made = subject("residual")

    def weights(**knobs: Any) -> torch.Tensor:
        return quantized(made, activation_bits=8, **knobs).get_parameter("blocks.1.conv2.weight")

    assert torch.equal(weights(weight_bits=8, rounding="gptq"), weights(weight_bits=8, rounding="nearest"))
    assert torch.equal(weights(weight_bits=8), weights(weight_bits=7, rounding="nearest"))
    assert not torch.equal(weights(weight_bits=7, rounding="gptq"), weights(weight_bits=7, rounding="nearest"))


def test_affine_eight_bit_weights_are_refused_with_eight_bit_activations() -> None:
    with pytest.raises(InputError, match=r"symmetry: 'affine' is not allowed; .*int8 kernels"):
        QuantizationConfig(weight_bits=8, activation_bits=8, symmetry="affine")
    QuantizationConfig(weight_bits=8, symmetry="affine")


@pytest.mark.parametrize("knobs", [{"range": "percentile"}, {"range": "percentile", "symmetry": "affine"}])
def test_percentile_ranges_are_narrower_than_the_largest_weight(knobs: dict[str, Any]) -> None:
    made = subject("residual")
    scales = {
        name: state_of(quantized(made, weight_bits=4, **settings)).encodings["blocks.1.conv2.weight"].scale
        for name, settings in (("percentile", knobs), ("minmax", {**knobs, "range": "minmax"}))
    }
    assert (scales["percentile"] <= scales["minmax"]).all()
    assert scales["percentile"].sum() < scales["minmax"].sum()


def test_equalization_helps_weights_with_one_scale() -> None:
    made = subject("residual")
    for fqn, layer in weight_layers(made.model):
        if fqn.endswith("conv1"):
            layer.weight.mul_(torch.logspace(-1.5, 1.5, 16)[:, None, None, None])
            norm = made.model.get_submodule(fqn.replace("conv1", "bn1"))
            norm.running_mean.mul_(torch.logspace(-1.5, 1.5, 16))
            norm.running_var.mul_(torch.logspace(-3, 3, 16))
    made.context.model_key += " uneven"
    inputs = made.context.calibration_inputs
    lost = {
        equalized: float((quantized(made, weight_bits=4, granularity="tensor", equalize=equalized)(inputs)
                          - made.model(inputs)).square().mean())
        for equalized in (False, True)
    }
    assert lost[True] < 0.5 * lost[False]
    assert any(note.startswith("equalized: 7 layers") for note in made.context.report.notes)


def test_smoothing_acts_and_says_so() -> None:
    made = subject("gpt")
    model = quantized(made, weight_bits=8, activation_bits=8, smoothing=0.5)
    assert len(state_of(model).output_scales) == 5
    assert "smoothed: 5 layer norms and the linear layers that read them" in made.context.report.notes
    idle = subject("gpt")
    model = quantized(idle, weight_bits=8, smoothing=0.5)
    assert not state_of(model).output_scales
    assert any("nothing smoothed" in note for note in idle.context.report.notes)


def test_feedback_after_smoothing_knows_of_the_scale() -> None:
    made = subject("gpt")
    model = quantized(made, weight_bits=4, activation_bits=8, smoothing=0.5)
    for fqn, layer in weight_layers(model):
        scale = state_of(model).input_scales.get(fqn)
        if scale is None or fqn in made.context.protected:
            continue
        hessian = damped(original_hessians(made.context)[fqn])
        original, grid = made.model.get_submodule(fqn).weight, state_of(model).encodings[f"{fqn}.weight"]
        smoothed = original / scale
        nearest = (smoothed / grid.scale[:, None]).round().clamp(-7, 7) * grid.scale[:, None]
        ours, theirs = (output_error(w * scale - original, hessian).sum() for w in (layer.weight.detach(), nearest))
        assert ours < theirs


def test_layers_without_statistics_are_named() -> None:
    made = subject("residual")
    model = copy.deepcopy(made.model)
    model.blocks[1].conv2 = nn.Conv2d(16, 16, 1, bias=False).requires_grad_(False)
    quantized(made, model, weight_bits=4)
    assert made.context.report.notes[0] == (
        "rounded to the nearest values, as no statistics of inputs fit: blocks.1.conv2"
    )


def test_an_override_keeps_one_layers_activations_in_float() -> None:
    made = subject("residual", overrides={"blocks.1.conv1": {"activation_bits": 32}})
    activations = state_of(quantized(made, weight_bits=8, activation_bits=8)).activations
    assert activations is not None and activations.excluded == ("blocks.1.conv1",)
    assert not any("no effect" in note for note in made.context.report.notes)


def test_overrides_of_a_knob_of_the_whole_step_are_said_to_have_no_effect() -> None:
    made = subject("residual", overrides={"blocks.1": {"activation_bits": 8, "equalize": True}})
    quantized(made, weight_bits=8)
    told = [note for note in made.context.report.notes if "no effect" in note]
    assert [note.split()[0] for note in told] == ["equalize", "activation_bits"]
