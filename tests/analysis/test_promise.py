"""Promises: what is shown of a limit of accuracy, on which samples, and what a bundle states of it."""

import json

import numpy as np
import pytest
import torch

from compression.analysis.promise import (
    Promise,
    data_used,
    promise_between,
    promise_from_dict,
    promise_of,
    promise_rows,
    too_few_samples,
    untouched_rows,
)
from compression.bundles.promise_checks import check_promise
from compression.core.intervals import paired_interval
from compression.experiments.pairing import Correct, Scores, pack
from compression.experiments.tasks import Task, load_task
from compression.problems.problem import Sizes
from compression.recipe import Recipe
from models.datasets import Split


def predictions(n: int, lost: int, won: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Right predictions of two models on n samples in random order, of which the second loses and wins some."""
    first = np.arange(n) >= n // 10
    second = first.copy()
    second[n // 10 : n // 10 + lost] = False
    second[:won] = True
    order = np.random.default_rng(0).permutation(n)
    return first[order][:, None], second[order][:, None]


@pytest.mark.parametrize("count", [2, 7, 360, 10_000])
def test_promises_and_the_untouched_rest_divide_the_test_split(count: int) -> None:
    ours, rest = promise_rows(count), untouched_rows(count)
    assert sorted([*ours, *rest]) == list(range(count)) and len(ours) == count // 2
    assert np.array_equal(ours, promise_rows(count))


def test_a_promise_is_the_paired_difference_on_its_samples_alone() -> None:
    first, second = predictions(2000, lost=30, won=10)
    found = promise_of(first, second, 3.0)
    rows = promise_rows(2000)
    one, two = first[rows, 0], second[rows, 0]
    counts = (np.array(float(own.sum())) for own in (one, two, one & two))
    value, low, _ = paired_interval(*counts, 1000)
    assert (found.drop, found.drop_high) == pytest.approx((-100 * float(value), -100 * float(low)))
    assert found.n_samples == 1000 and found.of_samples == 2000
    elsewhere = second.copy()
    elsewhere[untouched_rows(2000)] = False
    assert promise_of(first, elsewhere, 3.0) == found, "the rest is not looked at"


def test_only_what_is_shown_is_kept_and_the_words_say_so() -> None:
    shown = Promise(1.0, 0.71, 0.93, 5000, 10_000)
    assert shown.kept
    assert shown.text == "keeps at most 1 point: shown (0.71, at most 0.93 with 97.5 % confidence, n = 5,000)"
    open_ = Promise(0.5, 0.1, 1.4, 120, 240, needed=2900)
    assert not open_.kept
    assert open_.verdict == "not shown: n = 120 cannot resolve 0.5 points; about 2,900 samples would"
    assert Promise(1.0, 1.29, 1.9, 500, 1000).verdict == "not shown: 1.29 points lost, n = 500"
    assert promise_from_dict(json.loads(json.dumps(open_.to_dict()))) == open_
    assert open_.to_dict()["kept"] is False


def test_the_samples_that_are_named_would_show_it() -> None:
    few = promise_of(*predictions(400, lost=2), 2.0)
    assert not few.kept and few.needed is not None
    times = few.needed / few.n_samples
    first, second = predictions(400, lost=2)
    rows = promise_rows(400)
    repeat = int(np.ceil(1.1 * times))
    one, two = (np.tile(own[rows], (repeat, 1)) for own in (first, second))
    counts = (np.array(float(own.sum())) for own in (one, two, one & two))
    assert -100 * float(paired_interval(*counts, len(one))[1]) < 2.0


def test_tokens_of_one_window_count_as_one_sample() -> None:
    first, second = predictions(400, lost=40)
    tokens = promise_of(np.repeat(first, 64, axis=1), np.repeat(second, 64, axis=1), 20.0)
    windows = promise_of(first, second, 20.0)
    assert tokens.drop == pytest.approx(windows.drop) and tokens.n_samples == 64 * windows.n_samples
    assert tokens.drop_high == pytest.approx(windows.drop_high, abs=0.5), "64 equal tokens are no 64 samples"


def test_nothing_is_promised_from_a_part_of_the_test_split() -> None:
    first, second = (own[:, 0] for own in predictions(200, lost=1))
    whole, part = Scores(Correct("d-200", first), Correct("d-200-20", first[:20])), Correct("d-200-20", second[:20])
    assert promise_between(whole, Scores(None, part), 1.0) is None
    assert promise_between(whole, Scores(Correct("e-200", second), part), 1.0) is None
    assert promise_between(whole, Scores(Correct("d-200", second), part), 1.0) is not None


def test_too_few_samples_are_said_with_how_many_it_takes() -> None:
    assert too_few_samples(10_000, 1.0) == ""
    warning = too_few_samples(360, 1.0)
    assert "180 samples" in warning and "about 1,100" in warning


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(Recipe("digits_mobilenet", "digits"))


@pytest.mark.parametrize("calibration", [64, 512, 1400, 5000])
def test_calibration_choice_and_training_share_no_sample(
    task: Task, calibration: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By construction, also where a training split is small; the test split is another one."""
    count = 1437
    numbered = Split(torch.arange(count)[:, None].float(), torch.arange(count) % 10)
    monkeypatch.setattr(type(task.problem), "sizes", Sizes(calibration=calibration))
    monkeypatch.setattr(task.dataset, "train", numbered)
    own = Task(task.info, task.dataset, task.model_hash, task.data_hash)
    of = {
        name: {int(row) for row in split.inputs[:].flatten()}
        for name, split in (
            ("calibration", own.calibration_split), ("choice", own.selection_split),
            ("training", own._training_splits[1]), ("training's choice", own._training_splits[0]),
        )
    }
    assert not of["choice"] & of["calibration"]
    assert not of["choice"] & (of["training"] | of["training's choice"])
    assert len(of["choice"]) == 287 and len(of["calibration"]) == min(calibration, count - 287)


def test_a_bundle_s_promise_is_computed_again(task: Task) -> None:
    test = task.dataset.test
    with torch.inference_mode():
        outputs = torch.cat([task.load_model()(torch.from_numpy(batch)) for batch in task.scoring_batches(test)])
    before = (outputs.argmax(-1) == test.targets).numpy()[:, None]
    after = before.copy()
    after[np.flatnonzero(before)[:3]] = False
    promise = promise_of(before, after, 3.0)

    def checks(**changes: object) -> list[bool]:
        stored = {"shape": list(before.shape), "bits": pack(before)}
        content = {**promise.to_dict(), "uncompressed_right": stored, **changes}
        return [own.passed for own in check_promise({"promise.json": json.dumps(content).encode()}, task, after)]

    assert checks() == [True, True]
    assert checks(drop=promise.drop - 0.5)[0] is False
    assert checks(kept=not promise.kept)[0] is False
    assert checks(drop_high="0") == [False] == checks(uncompressed_right={"shape": [2, 1], "bits": ""})[:1]
    assert checks(uncompressed_right={"shape": list(before.shape), "bits": pack(~before)})[1] is False
    assert check_promise({}, task, after) == []


def test_the_data_of_each_step_is_listed() -> None:
    used = data_used("digits", False, 512, 287, 360)
    assert used["promise"] == "180 of 360 test samples, a fixed half" and "training split" in used["choice"]
    assert data_used("mine", True, 512, 100, 360)["choice"] == "100 samples of the validation split"
