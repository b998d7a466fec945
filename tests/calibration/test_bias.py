"""Biases that make up for what a change of weights did to the mean of an output."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compression.calibration import bias as bias_module
from compression.calibration import finish as finish_module
from compression.calibration.bias import correct_biases, original_means
from compression.calibration.finish import distance_from_original, finish_step
from compression.context import CompressionContext
from compression.state import HalfPrecision, state_of
from compression.structure.factorized import FactorizedLinear
from tests.techniques.networks import KINDS, subject


def network(**changes: Any) -> tuple[nn.Sequential, CompressionContext]:
    """Convolution, ReLU and two linear layers, all with a bias, on inputs whose mean is not zero."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3)
    ).eval().requires_grad_(False)
    inputs = torch.randn(100, 2, 4, 4) + 0.5
    settings = {"original": model, "calibration_inputs": inputs, "example_input": inputs[:1], "model_key": "biased"}
    return model, subject("residual", **{**settings, **changes}).context


def coarse(model: nn.Module, step: float = 0.15) -> nn.Module:
    """A copy with weights rounded to few values."""
    changed = copy.deepcopy(model)
    for module in changed.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.copy_((module.weight / step).floor() * step)
    return changed


def means(model: nn.Sequential, inputs: Tensor) -> list[Tensor]:
    """Mean output of each weight layer, (C_out,)."""
    found = []
    for module in model:
        inputs = module(inputs)
        if isinstance(module, nn.Conv2d | nn.Linear):
            found.append(inputs.mean((0, 2, 3)) if inputs.ndim == 4 else inputs.mean(0))
    return found


def test_each_layer_gets_the_original_mean_from_its_corrected_predecessors() -> None:
    original, context = network()
    model, inputs = coarse(original), context.calibration_inputs
    wanted = means(original, inputs)
    by_hand = copy.deepcopy(model)
    for index, place in enumerate((0, 3, 5)):
        by_hand[place].bias += wanted[index] - means(by_hand, inputs)[index]
    found = correct_biases(model, context)
    assert found is not None
    for place in (0, 3, 5):
        torch.testing.assert_close(model[place].bias, by_hand[place].bias, rtol=1e-4, atol=1e-5)
        assert torch.equal(found[0][f"{place}.bias"], original[place].bias)
    torch.testing.assert_close(found[1], model(inputs), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(means(model, inputs), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_an_untouched_model_keeps_its_biases(kind: str) -> None:
    made = subject(kind)
    model = copy.deepcopy(made.model)
    correct_biases(model, made.context)
    for name, parameter in made.model.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), parameter, rtol=1e-5, atol=1e-5)


def test_helpful_correction_is_kept_and_reported() -> None:
    original, context = network()
    model = copy.deepcopy(original)
    for place, shift in ((0, 0.4), (3, -0.7), (5, torch.tensor([1.0, 0.0, -1.0]))):
        model[place].bias += shift  # what the correction makes up for exactly
    broken = distance_from_original(model(context.calibration_inputs), context)
    finish_step(model, context)
    assert distance_from_original(model(context.calibration_inputs), context) < 0.01 * broken
    assert any("bias correction" in note for note in context.report.notes)


def test_correction_that_does_harm_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    original, context = network()
    model = coarse(original)
    before = {name: p.clone() for name, p in model.named_parameters()}

    def harm(changed: nn.Module, context: CompressionContext) -> Any:
        found = correct_biases(changed, context)
        assert found is not None
        changed[5].bias.add_(torch.tensor([9.0, -9.0, 0.0]))
        return found[0], changed(context.calibration_inputs)

    monkeypatch.setattr(finish_module, "correct_biases", harm)
    finish_step(model, context)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert context.report.notes == []


def test_layers_with_a_batch_norm_behind_them_are_left_to_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).eval().requires_grad_(False)
    inputs = torch.randn(64, 4)
    context = network(
        original=model, calibration_inputs=inputs, example_input=inputs[:1], model_key="normed and biased"
    )[1]
    assert set(original_means(context)) == {"2"}


def test_split_layers_are_corrected_in_their_second_part() -> None:
    original, context = network()
    model = copy.deepcopy(original)
    u, s, v = torch.linalg.svd(original[3].weight)
    model[3] = FactorizedLinear(original[3], v[:2], u[:, :2] * s[:2]).requires_grad_(False)
    correct_biases(model, context)
    inputs = context.calibration_inputs
    found = model[:4](inputs).mean(0)
    torch.testing.assert_close(found, original[:4](inputs).mean(0), rtol=1e-4, atol=1e-5)
    assert not torch.equal(model[3][1].bias, original[3].bias)


def test_removed_channels_are_left_out_of_the_comparison() -> None:
    original, context = network()
    model, keep = coarse(original), torch.tensor([0, 2, 5])
    narrow = nn.Linear(16, 3).requires_grad_(False)
    narrow.weight.copy_(model[3].weight[keep])
    narrow.bias.copy_(model[3].bias[keep])
    last = nn.Linear(3, 3).requires_grad_(False)
    last.weight.copy_(model[5].weight[:, keep])
    model[3], model[5] = narrow, last
    state_of(model).kept["3"] = keep
    inputs = context.calibration_inputs
    correct_biases(model, context)
    torch.testing.assert_close(model[:4](inputs).mean(0), original[:4](inputs).mean(0)[keep], rtol=1e-4, atol=1e-5)
    del state_of(model).kept["3"]
    before = model[3].bias.clone()
    correct_biases(model, context)
    assert torch.equal(model[3].bias, before), "without a record of what was kept nothing can be compared"


def test_rescaled_channels_are_compared_with_the_original_times_their_scale() -> None:
    original, context = network()
    model, scale = copy.deepcopy(original), torch.tensor([0.5, 2.0, 3.0, 1.0])
    model[0].weight.mul_(scale[:, None, None, None])
    model[0].bias.mul_(scale)
    state_of(model).output_scales["0"] = scale
    before = model[0].bias.clone()
    correct_biases(model, context)
    torch.testing.assert_close(model[0].bias, before, rtol=1e-4, atol=1e-5)


def test_excluded_layers_and_biases_held_to_16_bits_stay() -> None:
    original, context = network(exclude=("0",))
    model = coarse(original)
    state_of(model).encodings["3.bias"] = HalfPrecision()
    found = correct_biases(model, context)
    assert found is not None and set(found[0]) == {"5.bias"}
    assert torch.equal(model[0].bias, original[0].bias)
    assert torch.equal(model[3].bias, original[3].bias)


def test_the_original_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    original, context = network()
    context.model_key = "runs once"
    runs = []
    handle = original.register_forward_hook(lambda *_: runs.append(1))
    correct_biases(coarse(original), context)
    first = len(runs)
    correct_biases(coarse(original), context)
    handle.remove()
    assert first > 0 and len(runs) == first + 1, "the copy carries the hook; the original is not run again"
    assert bias_module.original_means(context) is bias_module.original_means(context)
