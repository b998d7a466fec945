"""Distillation: the student is smaller, learns, and learns more with its teacher."""

import copy

import pytest
import torch
from torch import nn

from compression.calibration.finish import distance_from_original
from compression.context import CompressionContext
from compression.errors import InputError, NotApplicableError
from compression.state import state_of
from compression.structure.depth import drop_every_other_block
from compression.techniques import get_technique
from tests.techniques.networks import KINDS, subject

DISTILLATION = get_technique("distillation")


@torch.inference_mode()
def distance(model: nn.Module, context: CompressionContext) -> float:
    return distance_from_original(model(context.calibration_inputs), context)


@pytest.mark.parametrize("kind", KINDS)
def test_half_depth_leaves_every_other_repeated_block_out(kind: str) -> None:
    made = subject(kind)
    original = [name for name, _ in made.model.blocks.named_children()]
    student = DISTILLATION.function(copy.deepcopy(made.model), DISTILLATION.config_type(epochs=1), made.context)
    assert [name for name, _ in student.blocks.named_children()] == original[::2]
    assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in made.model.parameters())
    assert [name for name, _ in made.context.original.blocks.named_children()] == original


@pytest.mark.parametrize("loss", ["kd", "decoupled"])
def test_training_brings_the_student_closer_to_its_teacher(loss: str) -> None:
    made = subject("vision_transformer")
    untrained = copy.deepcopy(made.model)
    drop_every_other_block(untrained)
    config = DISTILLATION.config_type(epochs=10, learning_rate=0.005, loss=loss)
    student = DISTILLATION.function(copy.deepcopy(made.model), config, made.context)
    assert distance(student, made.context) < 0.5 * distance(untrained, made.context)


def test_what_was_known_of_removed_blocks_is_forgotten() -> None:
    made = subject("residual")
    model = copy.deepcopy(made.model)
    for block in (0, 1):
        name = f"blocks.{block}.conv1.weight"
        state_of(model).masks[name] = torch.ones_like(model.get_parameter(name), dtype=torch.bool)
    student = DISTILLATION.function(model, DISTILLATION.config_type(epochs=1), made.context)
    assert set(state_of(student).masks) == {"blocks.0.conv1.weight"}


def test_a_network_without_repeated_blocks_has_no_half_depth_student() -> None:
    made = subject("residual")
    model = copy.deepcopy(made.model)
    model.blocks = nn.Sequential(model.blocks[0])
    with pytest.raises(NotApplicableError, match="no repeated blocks"):
        DISTILLATION.function(model, DISTILLATION.config_type(epochs=1), made.context)


def test_an_unknown_student_is_named() -> None:
    with pytest.raises(InputError, match=r"distillation.student: 'giant' is not allowed; allowed: .*self"):
        DISTILLATION.config_type(student="giant")
