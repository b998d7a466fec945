"""Recovery: statistics only at zero epochs, training else."""

import copy
from dataclasses import fields

import pytest
import torch
from torch import nn

from compression.calibration.finish import distance_from_original
from compression.core.errors import InputError
from compression.layers import weight_layers
from compression.state import state_of
from compression.techniques import get_technique
from tests.techniques.networks import Subject, subject

RECOVERY = get_technique("recovery")


def pruned(kind: str) -> tuple[nn.Module, Subject]:
    made = subject(kind)
    model = copy.deepcopy(made.model)
    for fqn, layer in weight_layers(model):
        magnitude = layer.weight.detach().abs()
        mask = magnitude > magnitude.flatten().kthvalue(int(0.7 * magnitude.numel())).values
        layer.weight.data.mul_(mask)
        state_of(model).masks[f"{fqn}.weight"] = mask
    return model, made


@torch.inference_mode()
def distance(model: nn.Module, made: Subject) -> float:
    return distance_from_original(model(made.context.calibration_inputs), made.context)


def test_zero_epochs_touch_statistics_only() -> None:
    """Convolutions that became weaker by a factor are what statistics alone can mend."""
    made = subject("residual")
    model = copy.deepcopy(made.model)
    for block in model.blocks:
        block.conv1.weight.data.mul_(0.5)
    before = copy.deepcopy(model)
    RECOVERY.function(model, RECOVERY.config_type(epochs=0), made.context)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before.get_parameter(name)), name
    assert distance(model, made) < 0.1 * distance(before, made)


def test_training_brings_more_than_statistics() -> None:
    model, made = pruned("residual")
    only_statistics = RECOVERY.function(copy.deepcopy(model), RECOVERY.config_type(epochs=0), made.context)
    config = RECOVERY.config_type(epochs=10, learning_rate=0.005)
    trained = RECOVERY.function(copy.deepcopy(model), config, made.context)
    assert distance(trained, made) < 0.5 * distance(only_statistics, made)


@pytest.mark.parametrize(
    ("knob", "value"), [("epochs", -1), ("epochs", 1.5), ("learning_rate", 0.0), ("alpha", 1.1), ("teacher", 1)]
)
def test_wrong_values_are_named(knob: str, value: object) -> None:
    assert knob in {f.name for f in fields(RECOVERY.config_type)}
    with pytest.raises(InputError, match=f"recovery.{knob}: "):
        RECOVERY.config_type(**{knob: value})
