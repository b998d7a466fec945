"""Fine-tuning learns, keeps masks and encodings bit by bit, and can be cancelled."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from compression.artifact.packing import pack_model
from compression.calibration.finish import distance_from_original
from compression.core.errors import CancelledError
from compression.grids import codebook_indices, decode_codebook, dequantize, quantize_to_grid
from compression.layers import weight_layers
from compression.state import Codebook, HalfPrecision, UniformGrid, state_of
from compression.training import TrainingSettings, fine_tune
from tests.techniques.networks import KINDS, subject

LONG = TrainingSettings(epochs=10, learning_rate=0.005)


def mask(name: str, weight: Tensor, model: nn.Module) -> None:
    kept = weight.abs() > weight.abs().flatten().kthvalue(int(0.7 * weight.numel())).values
    weight.mul_(kept)
    state_of(model).masks[name] = kept


def grid(name: str, weight: Tensor, model: nn.Module, bits: int = 2) -> None:
    encoding = UniformGrid(bits, weight.abs().flatten(1).amax(1) / (2 ** (bits - 1) - 1))
    weight.copy_(dequantize(quantize_to_grid(weight, encoding), encoding))
    state_of(model).encodings[name] = encoding


def affine(name: str, weight: Tensor, model: nn.Module) -> None:
    low, high = weight.flatten(1).amin(1).clamp(max=0), weight.flatten(1).amax(1).clamp(min=0)
    scale = (high - low) / 3
    encoding = UniformGrid(2, scale, torch.round(-low / scale).int())
    weight.copy_(dequantize(quantize_to_grid(weight, encoding), encoding))
    state_of(model).encodings[name] = encoding


def ternary(name: str, weight: Tensor, model: nn.Module) -> None:
    encoding = Codebook(torch.tensor([-1.0, 0.0, 1.0]), weight.abs().flatten(1).mean(1) * 1.3)
    weight.copy_(decode_codebook(codebook_indices(weight, encoding), encoding))
    state_of(model).encodings[name] = encoding


def codebook(name: str, weight: Tensor, model: nn.Module) -> None:
    encoding = Codebook(torch.linspace(-1, 1, 7) * weight.abs().max())
    weight.copy_(decode_codebook(codebook_indices(weight, encoding), encoding))
    state_of(model).encodings[name] = encoding


def masked_half(name: str, weight: Tensor, model: nn.Module) -> None:
    mask(name, weight, model)
    weight.copy_(weight.half().float())
    state_of(model).encodings[name] = HalfPrecision()


def masked_grid(name: str, weight: Tensor, model: nn.Module) -> None:
    mask(name, weight, model)
    grid(name, weight, model, bits=4)


DAMAGES = [mask, grid, affine, ternary, codebook, masked_half, masked_grid]


def damaged(kind: str, damage: Callable[[str, Tensor, nn.Module], None]) -> tuple[nn.Module, nn.Module]:
    """A network put under a constraint, and a copy of it for comparison."""
    model = copy.deepcopy(subject(kind).model)
    with torch.no_grad():
        for fqn, layer in weight_layers(model):
            damage(f"{fqn}.weight", layer.weight, model)
    return model, copy.deepcopy(model)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("kind", ["residual", "gpt"])
def test_masks_and_encodings_hold_bit_by_bit(kind: str, damage: Callable[..., None], tmp_path: object) -> None:
    model, before = damaged(kind, damage)
    trained = fine_tune(model, subject(kind).context, LONG)
    assert not trained.training
    moved = [n for n, p in trained.named_parameters() if not torch.equal(p, before.get_parameter(n))]
    assert moved, "nothing was trained"
    for name, kept in state_of(before).masks.items():
        assert (trained.get_parameter(name)[~kept] == 0).all(), name
    assert state_of(trained).encodings.keys() == state_of(before).encodings.keys()
    assert pack_model(trained, tmp_path / "weights").notes == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_brings_a_pruned_model_closer_to_its_original(kind: str) -> None:
    model, before = damaged(kind, mask)
    context = subject(kind).context
    trained = fine_tune(model, context, LONG)
    with torch.inference_mode():
        start, end = (distance_from_original(m(context.calibration_inputs), context) for m in (before, trained))
    assert end < 0.5 * start


def test_symbols_of_a_grid_are_trained_and_not_only_its_surroundings() -> None:
    model, before = damaged("residual", grid)
    trained = fine_tune(model, subject("residual").context, LONG)
    changed = 0
    for name, encoding in state_of(trained).encodings.items():
        first = quantize_to_grid(before.get_parameter(name), state_of(before).encodings[name])
        changed += int((quantize_to_grid(trained.get_parameter(name), encoding) != first).sum())
    assert changed > 0


def test_assignments_to_a_codebook_stay_and_its_entries_move() -> None:
    model, before = damaged("residual", codebook)
    trained = fine_tune(model, subject("residual").context, LONG)
    moved = 0
    for name, encoding in state_of(trained).encodings.items():
        old = state_of(before).encodings[name]
        first = codebook_indices(before.get_parameter(name), old)
        torch.testing.assert_close(decode_codebook(first, encoding), trained.get_parameter(name), rtol=0, atol=0)
        moved += int((encoding.values != old.values).sum())
        assert (encoding.values[old.values == 0] == 0).all(), "an entry of zero stays zero"
    assert moved > 0


def test_equal_seeds_give_equal_weights_and_leave_the_original_alone() -> None:
    first, second = damaged("residual", grid)
    untouched, made = subject("residual").model, subject("residual")
    fine_tune(first, made.context, LONG)
    fine_tune(second, subject("residual").context, LONG)
    for (name, ours), theirs in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
    for name, value in untouched.state_dict().items():
        assert torch.equal(value, made.context.original.state_dict()[name]), name


def test_a_training_that_does_not_help_is_taken_back() -> None:
    made = subject("residual")
    model = copy.deepcopy(made.model)
    fine_tune(model, made.context, TrainingSettings(epochs=1, learning_rate=0.05))
    for name, value in made.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert made.context.report.changed == []
    assert any("taken back" in note for note in made.context.report.notes)


def test_it_stops_when_cancelled_and_says_how_far_it_is() -> None:
    fractions: list[float] = []
    made = subject("residual", progress=lambda fraction, message: fractions.append(fraction))
    fine_tune(damaged("residual", mask)[0], made.context, LONG)
    assert fractions
    assert fractions == sorted(fractions)
    assert fractions[-1] <= 1
    polls = iter([False, False, True])
    cancelled = subject("residual", cancelled=lambda: next(polls))
    with pytest.raises(CancelledError):
        fine_tune(damaged("residual", mask)[0], cancelled.context, LONG)


@pytest.mark.parametrize(("teacher_weight", "asked"), [(0.9, True), (0.0, False)])
def test_student_and_teacher_see_the_same_crop(teacher_weight: float, asked: bool) -> None:
    made = subject("residual")
    model, _ = damaged("residual", mask)
    seen: dict[str, list[Tensor]] = {"teacher": [], "student": []}
    made.context.original.register_forward_pre_hook(lambda m, a: seen["teacher"].append(a[0].clone()))
    model.register_forward_pre_hook(lambda m, a: seen["student"].append(a[0].clone()) if m.training else None)
    fine_tune(model, made.context, TrainingSettings(epochs=1, learning_rate=0.001, alpha=teacher_weight))
    assert len(seen["student"]) == 4
    for batch in seen["student"]:
        assert any(torch.equal(batch, other) for other in seen["teacher"]) == asked
