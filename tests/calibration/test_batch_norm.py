"""Relative correction of batch-norm statistics, and its withdrawal where it does not help."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compression.calibration import finish as finish_module
from compression.calibration.batch_norm import (
    batch_norms,
    calibration_sample,
    correct_batch_norm,
    input_moments,
    original_pass,
)
from compression.calibration.finish import distance_from_original, finish_step
from compression.context import CompressionContext
from compression.state import state_of
from tests.techniques.networks import subject

Statistics = dict[str, tuple[Tensor, Tensor]]


def statistics(model: nn.Module) -> Statistics:
    return {fqn: (n.running_mean.clone(), n.running_var.clone()) for fqn, n in batch_norms(model).items()}


def equal(first: Statistics, second: Statistics) -> bool:
    return all(torch.equal(a, b) for fqn in first for a, b in zip(first[fqn], second[fqn], strict=True))


def one_layer(seed: int = 0) -> tuple[nn.Sequential, CompressionContext]:
    """Linear layer, batch norm whose statistics are not those of the data, and the context of a run."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).eval().requires_grad_(False)
    model[1].running_mean.copy_(torch.randn(4))
    model[1].running_var.copy_(torch.rand(4) + 0.5)
    inputs = torch.randn(100, 6) + 0.3
    changes: dict[str, Any] = {"original": model, "calibration_inputs": inputs, "model_key": f"one layer {seed}"}
    return model, subject("residual", seed, **changes).context


@pytest.mark.parametrize("kind", ["residual", "depthwise"])
def test_correction_leaves_an_untouched_model_alone(kind: str) -> None:
    made = subject(kind)
    model = copy.deepcopy(made.model)
    output = correct_batch_norm(model, made.context)
    before, after = statistics(made.model), statistics(model)
    for fqn in before:
        torch.testing.assert_close(after[fqn], before[fqn], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(output, original_pass(made.context)[1], rtol=1e-5, atol=1e-5)


def test_correction_leaves_channels_of_little_variance_alone() -> None:
    model, context = one_layer(1)
    model[0].weight[0] *= 1e-3
    model[0].weight[1] = 0
    model[1].running_var[:2] = torch.tensor([2e-6, 0.7])
    again = copy.deepcopy(model)
    correct_batch_norm(again, context)
    torch.testing.assert_close(again[1].running_var, model[1].running_var, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(again[1].running_mean, model[1].running_mean)


def test_moments_are_the_biased_ones_of_each_channel() -> None:
    made = subject("residual")
    x = made.context.calibration_inputs
    found, output = input_moments(made.model, x)
    stem = made.model.stem(x)
    torch.testing.assert_close(found["bn"].mean, stem.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["bn"].var, stem.var((0, 2, 3), correction=0), rtol=1e-4, atol=1e-5)
    assert torch.equal(output, made.model(x))


def test_correction_follows_the_formula() -> None:
    model, context = one_layer()
    changed = copy.deepcopy(model)
    changed[0].weight.mul_(torch.tensor([0.2, 1.5, -1.0, 3.0])[:, None])
    correct_batch_norm(changed, context)
    old, new = model[0](context.calibration_inputs), changed[0](context.calibration_inputs)
    mean, var = model[1].running_mean, model[1].running_var
    var_o, var_c = old.var(0, correction=0), new.var(0, correction=0)
    shift = (new.mean(0) - old.mean(0)) * (var / var_o).sqrt()
    torch.testing.assert_close(changed[1].running_mean, mean + shift, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(changed[1].running_var, var * var_c / var_o, rtol=1e-4, atol=1e-5)


def test_correction_starts_from_the_original_statistics() -> None:
    made = subject("residual")
    first, second = copy.deepcopy(made.model), copy.deepcopy(made.model)
    for norm in batch_norms(second).values():
        norm.running_mean.fill_(7.0)
        norm.running_var.fill_(9.0)
    correct_batch_norm(first, made.context)
    correct_batch_norm(second, made.context)
    assert equal(statistics(first), statistics(second))


def test_removed_channels_are_left_out_of_the_comparison() -> None:
    model, context = one_layer()
    rows = torch.tensor([0, 2, 3])
    cut = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)).eval().requires_grad_(False)
    cut[0].weight.copy_(model[0].weight[rows])
    cut[0].bias.copy_(model[0].bias[rows])
    state_of(cut).kept["1"] = rows
    assert correct_batch_norm(cut, context) is not None
    torch.testing.assert_close(cut[1].running_mean, model[1].running_mean[rows])
    torch.testing.assert_close(cut[1].running_var, model[1].running_var[rows])
    del state_of(cut).kept["1"]
    assert correct_batch_norm(cut, context) is None


def test_sample_is_spread_over_the_data() -> None:
    _, context = one_layer()
    context.calibration_inputs = torch.arange(500.0)[:, None].expand(500, 6)
    sample = calibration_sample(context)[:, 0]
    assert len(sample) <= 128
    assert sample[-1] > 490
    assert (sample.diff() == sample.diff()[0]).all()


def test_helpful_correction_is_kept_and_reported() -> None:
    made = subject("residual")
    model = copy.deepcopy(made.model)
    for layer in (model.stem, model.blocks[0].conv1, model.blocks[1].conv2):
        layer.weight.mul_(0.4)  # what the correction makes up for exactly
    sample = calibration_sample(made.context)
    broken = distance_from_original(model(sample), made.context)
    finish_step(model, made.context)
    assert distance_from_original(model(sample), made.context) < 0.1 * broken
    assert any("batch-norm correction" in note for note in made.context.report.notes)


def test_nothing_to_correct_changes_nothing() -> None:
    made = subject("residual")
    model = copy.deepcopy(made.model)
    before = statistics(model)
    finish_step(model, made.context)
    for fqn, found in statistics(model).items():
        torch.testing.assert_close(found, before[fqn], rtol=1e-6, atol=1e-6)


def test_correction_that_does_harm_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = subject("residual")
    model = copy.deepcopy(made.model)
    model.stem.weight.mul_(0.9)
    before = statistics(model)

    def harm(changed: nn.Module, context: CompressionContext) -> Tensor:
        for norm in batch_norms(changed).values():
            norm.running_mean.add_(3.0)
        return changed(calibration_sample(context))

    monkeypatch.setattr(finish_module, "correct_batch_norm", harm)
    finish_step(model, made.context)
    assert equal(statistics(model), before)


def test_distance_is_the_divergence_per_prediction() -> None:
    made = subject("gpt")
    wanted = original_pass(made.context)[1]
    assert distance_from_original(wanted, made.context) == pytest.approx(0, abs=1e-6)
    output = wanted + torch.randn(wanted.shape, generator=torch.Generator().manual_seed(0))
    ours, theirs = output.softmax(-1).double(), wanted.softmax(-1).double()
    by_hand = (theirs * (theirs / ours).log()).sum(-1).mean()
    assert distance_from_original(output, made.context) == pytest.approx(float(by_hand), rel=1e-4)
