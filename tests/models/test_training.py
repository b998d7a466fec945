"""The script that trains the shipped models: what it averages, and that an interrupted run ends as another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models import train
from models.datasets import Dataset, load_dataset
from models.train import Schedule

NAME = "digits_mobilenet"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A schedule of a few steps with a second cycle, checkpoints of its own, and few samples to score."""
    schedule = Schedule(5, 8, 1e-3, 0.05, finish=3, averaging=0.9, consistency=1.0)
    whole = load_dataset("digits")
    few = Dataset(whole.info, whole.train, whole.test.subset(40, seed=0), whole.augment)
    monkeypatch.setattr(train, "SCHEDULES", {NAME: schedule})
    monkeypatch.setattr(train, "WEIGHTS_DIR", tmp_path)
    monkeypatch.setattr(train, "_CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(train, "load_dataset", lambda name: few)
    return tmp_path


def weights(model: nn.Module) -> dict[str, Any]:
    return model.state_dict()


def broken_at(step: int, whole: Callable[..., float]) -> Callable[..., float]:
    """Training steps that end like a killed process at one of them."""
    done = 0

    def one(*arguments: Any) -> float:
        nonlocal done
        done += 1
        if done == step:
            raise KeyboardInterrupt
        return whole(*arguments)

    return one


@pytest.mark.parametrize("step", [4, 7])  # in the first cycle, behind a checkpoint; in the second, before one
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    step: int, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, scores = train.train(NAME)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(train, "_step", broken_at(step, train._step))
        train.train(NAME)
    assert list(small.glob("*.checkpoint"))
    again, own = train.train(NAME)
    assert own == scores and not list(small.glob("*.checkpoint"))
    for name, value in weights(wanted).items():
        torch.testing.assert_close(weights(again)[name], value, rtol=0, atol=0)


def test_the_second_cycle_goes_on_from_the_first_ones_weights(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, _ = train.train(NAME)
    schedule = train.SCHEDULES[NAME]
    monkeypatch.setitem(train.SCHEDULES, NAME, Schedule(5, 8, 1e-3, 0.05, averaging=0.9, consistency=1.0))
    first, _ = train.train(NAME)
    changed = [n for n, v in weights(first).items() if v.ndim > 1 and not torch.equal(v, weights(both)[n])]
    moved = max(float((v - weights(both)[n]).abs().max()) for n, v in weights(first).items() if v.ndim > 1)
    assert changed and moved < 20 * schedule.finish * schedule.learning_rate


def test_the_average_follows_closely_at_first_and_slowly_later() -> None:
    update = train._averaged(0.99)
    early, late = [torch.zeros(1)], [torch.zeros(1)]
    update(early, [torch.ones(1)], 1)
    update(late, [torch.ones(1)], 10_000)
    assert float(early[0]) == pytest.approx(1 - 2 / 11) and float(late[0]) == pytest.approx(0.01)


def test_the_divergence_between_two_passes_equals_its_definition() -> None:
    first, second = torch.tensor([[0.3, -0.2, 0.1]]), torch.tensor([[-0.1, 0.4, 0.2]])
    p, q = first.softmax(-1), second.softmax(-1)
    wanted = ((p - q) * (p / q).log()).sum()
    torch.testing.assert_close(train._divergence(first, second), wanted)
    assert float(train._divergence(first, first)) == 0.0
