"""Trainings are done once: the steps behind them go on from what is kept."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from compression.context import CompressionContext
from compression.experiments import prefixes
from compression.experiments.artifacts import compress
from compression.experiments.prefixes import Compressed
from compression.experiments.results import TrainingRecord
from compression.recipe import Step, recipe_from_dict
from compression.techniques import distillation
from tests.techniques.networks import Subject, subject


@pytest.fixture(autouse=True)
def trainings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Nothing is kept before or after a test; how many trainings it did."""
    done: list[int] = []
    real = distillation.fine_tune

    def counted(*arguments: Any) -> Any:
        done.append(1)
        return real(*arguments)

    monkeypatch.setattr(distillation, "fine_tune", counted)
    prefixes._prefixes.clear()
    yield done
    prefixes._prefixes.clear()


def steps(*more: dict[str, Any], **knobs: Any) -> tuple[Step, ...]:
    first = {"technique": "distillation", "student": "half_depth", "epochs": 1, **knobs}
    return recipe_from_dict({"model": "any", "dataset": "any", "steps": [first, *more]}).steps


def outcome(made: Subject, *own: Step, context: CompressionContext | None = None) -> Compressed:
    return compress(copy.deepcopy(made.model), own, context or made.context)


def bits(count: int) -> dict[str, Any]:
    return {"technique": "quantization", "weight_bits": count}


def same(one: Compressed, other: Compressed) -> bool:
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_sweep_behind_a_training_trains_once_and_finds_the_same(trainings: list[int]) -> None:
    made = subject("residual")
    kept = [outcome(made, *steps(bits(count))) for count in (8, 4, 3)]
    assert len(trainings) == 1
    assert [len(own.trainings) for own in kept] == [1, 1, 1]
    for count, own in zip((8, 4, 3), kept, strict=True):
        prefixes._prefixes.clear()
        anew = outcome(made, *steps(bits(count)))
        assert same(anew, own) and anew.notes == own.notes
    assert len(trainings) == 4


def test_what_is_kept_does_not_change_under_later_steps(trainings: list[int]) -> None:
    made = subject("residual")
    alone = outcome(made, *steps())
    outcome(made, *steps({"technique": "weight_pruning", "sparsity": 0.9}))
    assert same(outcome(made, *steps()), alone) and len(trainings) == 1


@pytest.mark.parametrize("change", [{"temperature": 2.0}, {"seed": 1}, {"data_key": "other"}, {"model_key": "other"}])
def test_another_training_is_not_taken_for_it(change: dict[str, Any], trainings: list[int]) -> None:
    made = subject("residual")
    outcome(made, *steps())
    context = {name: value for name, value in change.items() if name != "temperature"}
    knobs = {name: value for name, value in change.items() if name == "temperature"}
    outcome(made, *steps(**knobs), context=subject("residual", **context).context)
    assert len(trainings) == 2


def test_a_training_that_was_ended_early_is_not_kept() -> None:
    made = subject("residual")
    record = TrainingRecord("distillation", 3, 1.5, 1.0)
    prefixes.remember(made.context, steps(), Compressed(made.model, [], [record]), made.context)
    assert prefixes.longest_known(made.context, steps()) is None


def test_few_are_kept_the_last_used_ones() -> None:
    made = subject("residual")
    own = [steps(temperature=float(t)) for t in range(1, 7)]
    for each in own:
        prefixes.remember(made.context, each, Compressed(made.model), made.context)
        assert prefixes.longest_known(made.context, own[0]) is not None
    known = [prefixes.longest_known(made.context, each) is not None for each in own]
    assert known == [True, False, False, True, True, True]
