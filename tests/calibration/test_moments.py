"""Biases and layer norms make up for shifted outputs where there is no batch norm."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compression.calibration import finish as finish_module
from compression.calibration.batch_norm import calibration_sample
from compression.calibration.finish import finish_step
from compression.calibration.moments import correct_moments, correctable
from compression.state import HalfPrecision, state_of
from compression.techniques import get_technique
from tests.techniques.networks import Subject, subject

TRANSFORMERS = ("vision_transformer", "gpt")


def disturbed(made: Subject) -> nn.Module:
    """A copy whose weights are rounded coarsely."""
    model = copy.deepcopy(made.model)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                scale = module.weight.abs().max() / 2
                module.weight.copy_((module.weight / scale).round() * scale)
    return model


@torch.inference_mode()
def outputs(model: nn.Module, inputs: Tensor, kinds: tuple[type[nn.Module], ...]) -> dict[str, Tensor]:
    """Output of each module of these kinds that has a bias, rows of channels."""
    found: dict[str, Tensor] = {}
    handles = []
    for fqn, module in model.named_modules():
        if isinstance(module, kinds) and getattr(module, "bias", None) is not None:

            def after(module: Any, args: Any, out: Tensor, fqn: str = fqn) -> None:
                rows = out.transpose(1, -1) if isinstance(module, nn.Conv2d) else out
                found[fqn] = rows.flatten(0, -2)

            handles.append(module.register_forward_hook(after))
    model(inputs)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_means_and_deviations_come_back(kind: str) -> None:
    made = subject(kind)
    model, sample = disturbed(made), calibration_sample(made.context)
    correct_moments(model, made.context)
    for kinds in ((nn.Linear, nn.Conv2d), (nn.LayerNorm,)):
        wanted, found = outputs(made.model, sample, kinds), outputs(model, sample, kinds)
        assert wanted and wanted.keys() == found.keys()
        for fqn, rows in wanted.items():
            torch.testing.assert_close(found[fqn].mean(0), rows.mean(0), atol=1e-4, rtol=1e-3)
            if kinds == (nn.LayerNorm,):
                torch.testing.assert_close(found[fqn].std(0), rows.std(0), atol=1e-4, rtol=1e-2)


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_an_unchanged_model_stays_as_it_is(kind: str) -> None:
    made = subject(kind)
    model = copy.deepcopy(made.model)
    correct_moments(model, made.context)
    for name, value in made.model.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), value, atol=1e-5, rtol=1e-4)


def test_the_returned_output_is_that_of_the_corrected_model() -> None:
    made = subject("gpt")
    model = disturbed(made)
    output = correct_moments(model, made.context)
    with torch.inference_mode():
        torch.testing.assert_close(model(calibration_sample(made.context)), output, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("better", [True, False])
def test_the_correction_stays_only_where_it_helps(better: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = subject("gpt")
    model = disturbed(made)
    before = {name: model.get_parameter(name).clone() for name in correctable(model)}
    losses = iter([1.0, 0.5 if better else 1.5])
    monkeypatch.setattr(finish_module, "distance_from_original", lambda output, context: next(losses))
    finish_step(model, made.context)
    same = all(torch.equal(model.get_parameter(name), value) for name, value in before.items())
    assert same != better
    assert bool(made.context.report.notes) == better


def test_sixteen_bits_stay_sixteen_bits() -> None:
    made = subject("gpt")
    model = disturbed(made)
    names = correctable(model)
    state_of(model).encodings.update({name: HalfPrecision() for name in names})
    correct_moments(model, made.context)
    for name in names:
        value = model.get_parameter(name)
        assert torch.equal(value, value.half().float())


def test_removed_units_and_split_layers_are_corrected_too() -> None:
    made = subject("vision_transformer")
    model = copy.deepcopy(made.model)
    for key, knobs in (("channel_pruning", {"pruning_ratio": 0.5}), ("low_rank", {"rank_ratio": 0.5})):
        technique = get_technique(key)
        model = technique.function(model, technique.config_type(**knobs), made.context)
    assert any(name.endswith(".1.bias") for name in correctable(model))
    correct_moments(model, made.context)
    sample = calibration_sample(made.context)
    wanted, found = (outputs(m, sample, (nn.LayerNorm,)) for m in (made.model, model))
    for fqn, rows in wanted.items():
        torch.testing.assert_close(found[fqn].mean(0), rows.mean(0), atol=1e-4, rtol=1e-3)


def test_shared_parameters_are_left_alone() -> None:
    made = subject("gpt")
    model = disturbed(made)
    everything = correctable(model)
    one, other = everything[0], everything[-1]
    state_of(model).shared[one] = other
    assert not {one, other} & set(correctable(model))
    assert len(correctable(model)) < len(everything)
