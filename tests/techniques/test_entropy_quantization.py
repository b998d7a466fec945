"""Entropy-coded quantization meets its rate, keeps zeros, and leaves integers for the int8 kernels."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.artifact.packing import load_packed, pack_model, unpack_model
from compression.calibration.fisher import output_energy
from compression.context import StepReport
from compression.core.errors import InputError
from compression.grids import quantize_to_grid
from compression.layers import weight_layers
from compression.solvers.rates import factor_for_rate, round_to_steps
from compression.state import UniformGrid, state_of
from compression.techniques.entropy_quantization import EntropyQuantizationConfig, quantize_to_rate
from tests.techniques.networks import Subject, subject


@pytest.fixture(scope="module")
def residual() -> Subject:
    return subject("residual")


def compressed(made: Subject, **knobs: Any) -> tuple[nn.Module, StepReport]:
    overrides = knobs.pop("overrides", {})
    context = replace(made.context, report=StepReport(), overrides=overrides)
    return quantize_to_rate(copy.deepcopy(made.model), EntropyQuantizationConfig(**knobs), context), context.report


def stored_rate(model: nn.Module, path: Path, names: list[str]) -> float:
    """Bits per weight of these layers in the packed file."""
    report = pack_model(model, path)
    weights = {f"{name}.weight" for name in names}
    bits = 8 * sum(report.bytes_by_tensor[name] for name in weights)
    return bits / sum(p.numel() for name, p in model.named_parameters() if name in weights)


@pytest.mark.parametrize("allocation", ["uniform", "fisher"])
@pytest.mark.parametrize("rate", [1.0, 2.5, 4.7])
def test_the_packed_file_takes_the_rate_that_was_asked_for(
    residual: Subject, rate: float, allocation: str, tmp_path: Path
) -> None:
    model, report = compressed(residual, rate=rate, allocation=allocation)
    names = [fqn for fqn, _ in weight_layers(model)]
    assert set(names) <= set(report.changed)
    assert stored_rate(model, tmp_path / "w", names) == pytest.approx(rate, rel=0.03)


def test_more_bits_leave_less_error(residual: Subject) -> None:
    inputs = residual.context.calibration_inputs
    with torch.inference_mode():
        wanted = residual.model(inputs)
        errors = [float((compressed(residual, rate=rate)[0](inputs) - wanted).square().mean()) for rate in (1.5, 3, 6)]
    assert errors[0] > 4 * errors[1] > 16 * errors[2] > 0


def test_a_layer_with_a_rate_of_its_own_meets_it(residual: Subject, tmp_path: Path) -> None:
    overrides = {"blocks.0.conv1": {"rate": 5.0}}
    model, _ = compressed(residual, rate=2.0, overrides=overrides)
    others = [fqn for fqn, _ in weight_layers(model) if fqn != "blocks.0.conv1"]
    assert stored_rate(model, tmp_path / "w", ["blocks.0.conv1"]) == pytest.approx(5.0, rel=0.05)
    assert stored_rate(model, tmp_path / "w", others) == pytest.approx(2.0, rel=0.04)


def test_pruned_weights_stay_zero(residual: Subject) -> None:
    model = copy.deepcopy(residual.model)
    layer = model.get_submodule("blocks.1.conv1")
    mask = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)) > 0.5
    layer.weight.data *= mask
    state_of(model).masks["blocks.1.conv1.weight"] = mask
    context = replace(residual.context, report=StepReport())
    quantize_to_rate(model, EntropyQuantizationConfig(rate=3.0), context)
    assert not layer.weight[~mask].any() and layer.weight[mask].any()


@pytest.mark.parametrize("kind", ["residual", "depthwise", "vision_transformer", "gpt"])
def test_integers_fit_eight_bits_and_come_back_from_the_file(kind: str, tmp_path: Path) -> None:
    made = subject(kind)
    model, _ = compressed(made, rate=3.0, activation_bits=8)
    state = state_of(model)
    assert state.activations is not None and state.activations.bits == 8
    for fqn, layer in weight_layers(model):
        grid = state.encodings[f"{fqn}.weight"]
        assert isinstance(grid, UniformGrid) and grid.zero_point is None
        assert int(quantize_to_grid(layer.weight, grid).abs().max()) <= 127
    pack_model(model, tmp_path / "w")
    again = copy.deepcopy(model)
    load_packed(again, unpack_model(tmp_path / "w"))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_layers_with_biases_run_on_integer_kernels(tmp_path: Path) -> None:
    """Their biases are stored in 16 bits, which must not keep the runtime from its integer kernels."""
    made = subject("vision_transformer")
    model, _ = compressed(made, rate=4.0, activation_bits=8)
    inputs = made.context.calibration_inputs
    grids = calibrate_activations(model, inputs[:1], inputs, tmp_path)
    graph = compile_graph(
        model, inputs[:1], tmp_path / "m.onnx", activation_grids=grids, cache_dir=tmp_path, samples=inputs
    )
    assert set(graph.kernels.values()) == {"int8"}, graph.reasons


def test_the_energy_at_the_logits_is_the_variance_of_the_labels(residual: Subject) -> None:
    """The gradient of the cross-entropy is ``p - y``, so its square is ``p (1 - p)`` on average."""
    energy = output_energy(residual.context)
    assert set(energy) == {fqn for fqn, _ in weight_layers(residual.model)}
    with torch.inference_mode():
        chances = residual.model(residual.context.calibration_inputs).softmax(-1)
    assert torch.allclose(energy["classifier"], (chances * (1 - chances)).mean(0).double(), atol=0.1)
    assert float(energy["classifier"].sum()) > 0.05


def test_the_first_guess_of_the_factor_has_the_entropy_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(64, 100, generator=generator), 5 * torch.randn(32, 50, generator=generator)]
    steps = [torch.full((64,), 0.5), torch.full((32,), 2.0)]
    factor = factor_for_rate(weights, steps, 127, 3.0)
    bits = 0.0
    for weight, step in zip(weights, steps, strict=True):
        whole = round_to_steps(weight.double()[None], factor * step[None].double(), None, 127)
        counts = torch.bincount((whole - whole.min()).flatten().long()).double()
        shares = counts[counts > 0] / counts.sum()
        bits += float(-(shares * shares.log2()).sum()) * weight.numel()
    assert bits / sum(weight.numel() for weight in weights) == pytest.approx(3.0, abs=0.02)


@pytest.mark.parametrize("rate", [0.5, 7.0, "2"])
def test_a_rate_out_of_range_is_refused(rate: Any) -> None:
    with pytest.raises(InputError, match=r"entropy_quantization\.rate"):
        EntropyQuantizationConfig(rate=rate)
