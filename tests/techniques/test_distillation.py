"""Distillation: the student is smaller, learns, and learns more with its teacher."""

import copy

import pytest
import torch
from torch import nn

from compression.calibration.finish import distance_from_original
from compression.calibration.hessian import original_hessians
from compression.calibration.reference import based_on
from compression.context import CompressionContext
from compression.core.errors import InputError, NotApplicableError
from compression.state import state_of
from compression.structure.depth import drop_every_other_block
from compression.techniques import get_technique
from tests.techniques.networks import KINDS, ConvNet, Separable, subject

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


def thin() -> nn.Module:
    return ConvNet(Separable, width=8)


def distilled(**knobs: object) -> tuple[nn.Module, CompressionContext]:
    made = subject("residual", students={"thin": thin})
    config = DISTILLATION.config_type(**{"student": "thin", "epochs": 1, **knobs})
    return DISTILLATION.function(copy.deepcopy(made.model), config, made.context), made.context


def test_a_named_student_is_another_network_that_learns_from_random_weights() -> None:
    student, context = distilled(epochs=20, learning_rate=0.01)
    assert {n: p.shape for n, p in student.named_parameters()} == {n: p.shape for n, p in thin().named_parameters()}
    history = context.report.history
    assert history[-1]["held_out_loss"] < 0.5 * history[0]["held_out_loss"]
    assert context.report.replaced and context.report.changed[0] == "thin"
    assert not any("left behind" in note for note in context.report.notes)


def start(seed: int, alpha: float) -> torch.Tensor:
    """Weights of the classifier before the first batch."""
    found: list[torch.Tensor] = []

    def build() -> nn.Module:
        student = thin()
        found.append(student.classifier.weight.detach().clone())
        return student

    made = subject("residual", students={"thin": build})
    made.context.seed = seed
    config = DISTILLATION.config_type(student="thin", epochs=1, alpha=alpha)
    DISTILLATION.function(copy.deepcopy(made.model), config, made.context)
    return found[0]


def test_the_random_weights_follow_from_the_seed_alone() -> None:
    first = start(1, 0.9)
    assert torch.equal(first, start(1, 0.0)), "with a teacher and without, the same network starts"
    assert not torch.equal(first, start(2, 0.9))


def test_the_global_generator_is_left_alone() -> None:
    made = subject("residual", students={"thin": thin})
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    DISTILLATION.function(made.model, DISTILLATION.config_type(student="thin", epochs=1), made.context)
    assert torch.equal(torch.rand(1), wanted)


def test_what_steps_before_did_is_said_to_be_left_behind() -> None:
    made = subject("residual", students={"thin": thin})
    model = copy.deepcopy(made.model)
    model.classifier.weight.data[0] = 0
    DISTILLATION.function(model, DISTILLATION.config_type(student="thin", epochs=1), made.context)
    assert any("left behind" in note for note in made.context.report.notes)


def test_later_steps_compare_with_the_student_and_the_teacher_stays() -> None:
    student, context = distilled()
    own = based_on(context, student)
    inputs = context.calibration_inputs
    with torch.inference_mode():
        assert torch.equal(own.original(inputs), student(inputs))
        assert torch.equal(own.teach(inputs), context.original(inputs))
        assert distance_from_original(student(inputs), own) == pytest.approx(0, abs=1e-6)
        assert distance_from_original(student(inputs), context) > 0.01
    assert own.protected == ("stem", "classifier")
    assert own.model_key != context.model_key and own.cache_dir is None
    assert original_hessians(own)["blocks.0.expand.0"].shape == (8, 8)
    with torch.no_grad():
        student.classifier.weight.zero_()
    assert own.original.classifier.weight.any(), "the reference is a copy"


@pytest.mark.parametrize(("value", "told"), [("not a name", "half_depth, self, or the name"), (3, "half_depth, self")])
def test_what_is_no_name_at_all_is_refused_at_once(value: object, told: str) -> None:
    with pytest.raises(InputError, match=f"distillation.student: .* is not allowed; allowed: {told}"):
        DISTILLATION.config_type(student=value)


def test_an_unknown_student_is_named_with_those_that_the_model_has() -> None:
    with pytest.raises(InputError, match=r"distillation.student: 'giant' .*: half_depth, self, thin$"):
        distilled(student="giant")
