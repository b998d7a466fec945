"""The validation curve: what is recorded, which state is kept, and how a training ends early."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compression.artifact.packing import pack_model
from compression.context import Batch, StepReport
from compression.core.errors import CancelledError
from compression.training import TrainingSettings, fine_tune
from compression.training.validation import looks_within
from tests.techniques.networks import BATCHES, subject
from tests.training.test_fine_tune import damaged, grid, mask, ternary

EPOCHS = 4


def misleading(kind: str = "residual") -> Callable[[int], Iterator[Batch]]:
    """Batches that are right in the first epochs; from the seventh on all labels are wrong."""
    right = subject(kind).context.training_batches

    def batches(epoch: int) -> Iterator[Batch]:
        for inputs, targets in right(epoch):
            yield inputs, targets if epoch < 6 else (targets + 1) % 5

    return batches


@torch.inference_mode()
def figures(model: nn.Module, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    logits = model.eval()(inputs)
    return float((logits.argmax(-1) == targets).float().mean()), float(F.cross_entropy(logits, targets))


@pytest.mark.parametrize("damage", [mask, grid, ternary], ids=lambda d: d.__name__)
def test_a_training_that_gets_worse_returns_its_best_state(damage: Callable[..., None], tmp_path: Path) -> None:
    made = subject("residual", training_batches=misleading())
    model, before = damaged("residual", damage)
    fine_tune(model, made.context, TrainingSettings(12, 0.005, alpha=0.0))
    report, held_out = made.context.report, (made.context.calibration_inputs, made.context.calibration_targets)
    best = max(report.history, key=lambda r: (r["accuracy"], -r["held_out_loss"]))
    assert 0 < report.kept_epoch == best["epoch"]
    if damage is not ternary:  # whose few states may come back to the best one by chance
        assert report.kept_epoch < 12
        assert report.history[-1]["accuracy"] < best["accuracy"]
    first = figures(before, *held_out)
    assert (best["accuracy"], -best["held_out_loss"]) > (first[0], -first[1])
    accuracy, loss = figures(model, *held_out)
    assert accuracy == pytest.approx(best["accuracy"])
    assert loss == pytest.approx(best["held_out_loss"], rel=1e-3)
    assert pack_model(model, tmp_path / "weights").notes == [], "grids and weights are of one moment"


def test_the_state_before_counts_too() -> None:
    made = subject("residual")
    wrong = [(inputs, (targets + 1) % 5) for inputs, targets in made.context.training_batches(0)]
    made.context.training_batches = lambda epoch: iter(wrong)
    model = copy.deepcopy(made.model)
    fine_tune(model, made.context, TrainingSettings(EPOCHS, 0.01, alpha=0.0))
    assert made.context.report.kept_epoch == 0
    assert made.context.report.changed == []
    for name, value in made.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_the_curve_has_every_epoch_in_order_and_is_told_as_it_grows() -> None:
    lengths: list[int] = []
    made = subject("residual", evaluated=lambda report: lengths.append(len(report.history)))
    fine_tune(damaged("residual", mask)[0], made.context, TrainingSettings(EPOCHS, 0.005))
    history = made.context.report.history
    assert [record["epoch"] for record in history] == list(range(EPOCHS + 1))
    assert "loss" not in history[0]
    assert all(record.keys() >= {"loss", "held_out_loss", "accuracy", "agreement"} for record in history[1:])
    assert all(0 <= record[name] <= 1 for record in history for name in ("accuracy", "agreement"))
    assert history[-1]["loss"] < history[1]["loss"]
    assert lengths == list(range(1, EPOCHS + 2))
    assert (made.context.report.epochs, made.context.report.epochs_done) == (EPOCHS, EPOCHS)


def test_the_held_out_samples_are_those_of_the_context() -> None:
    whole = subject("residual").context
    held_out = (whole.calibration_inputs[:8], (whole.calibration_targets[:8] + 1) % 5)
    made = subject("residual", held_out=held_out)
    fine_tune(copy.deepcopy(made.model), made.context, TrainingSettings(1, 1e-5))
    first = made.context.report.history[0]
    assert (first["accuracy"], first["agreement"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("batches", "wanted"), [(1, [1]), (16, [16]), (400, [200, 400]), (930, [186, 372, 558, 744, 930])]
)
def test_a_long_epoch_is_looked_at_a_few_times(batches: int, wanted: list[int]) -> None:
    assert looks_within(batches) == wanted


def ended_at(batch: int, **changes: object) -> tuple[nn.Module, StepReport]:
    """A training of four epochs that is asked to end before its `batch`-th batch, counted from 0."""
    polls = iter(range(1, EPOCHS * BATCHES))
    made = subject("residual", enough=lambda: next(polls) >= batch, **changes)
    model, _ = damaged("residual", mask)
    return fine_tune(model, made.context, TrainingSettings(EPOCHS, 0.005)), made.context.report


def test_enough_ends_it_with_the_best_so_far_and_says_how_far_it_came() -> None:
    model, report = ended_at(6)
    assert [record["epoch"] for record in report.history] == [0, 1, 1.5]
    assert (report.epochs, report.epochs_done) == (EPOCHS, 1.5)
    assert any("stopped after epoch 1.5 of 4" in note for note in report.notes)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    again, _ = ended_at(6)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))


def test_enough_at_the_end_of_an_epoch_does_not_look_twice() -> None:
    assert [record["epoch"] for record in ended_at(BATCHES)[1].history] == [0, 1]


def test_enough_from_the_start_still_learns_from_one_batch() -> None:
    assert [record["epoch"] for record in ended_at(0)[1].history] == [0, 1 / BATCHES]


def test_cancelling_is_still_no_result() -> None:
    with pytest.raises(CancelledError):
        ended_at(6, cancelled=lambda: True)


def test_with_and_without_a_teacher_the_student_sees_the_same_batches_in_the_same_order() -> None:
    seen: dict[float, list[Tensor]] = {}
    for alpha in (0.9, 0.0):
        made, own = subject("residual"), seen.setdefault(alpha, [])
        model, _ = damaged("residual", mask)
        model.register_forward_pre_hook(lambda m, a, own=own: own.append(a[0].clone()) if m.training else None)
        model.register_forward_pre_hook(lambda m, a, own=own: own.append(torch.rand(3)) if m.training else None)
        fine_tune(model, made.context, TrainingSettings(2, 0.001, alpha=alpha))
    assert len(seen[0.9]) == len(seen[0.0]) == 2 * 2 * BATCHES
    assert all(torch.equal(a, b) for a, b in zip(seen[0.9], seen[0.0], strict=True)), "dropout included"
