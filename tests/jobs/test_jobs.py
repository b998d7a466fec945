"""What worker processes make of a job's state: errors in one line, and a cancellation that stays one."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from compression.core.errors import CancelledError, InputError
from compression.experiments import stages
from compression.experiments.store import ResultStore
from compression.jobs import experiment_jobs

KEY = "0123"
RECIPE = json.dumps({"model": "digits_resnet", "dataset": "digits", "steps": []})
UNTIMED = SimpleNamespace(figures=SimpleNamespace(latency_ms_p50=None), stage="full")
Stage = Callable[..., bool]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    """A store with one queued job, and stages that do nothing."""
    own = ResultStore(tmp_path)
    own.put_job(KEY, "queued")
    monkeypatch.setattr(experiment_jobs, "_store", lambda root: own)
    for name in ("build", "score", "clock"):
        monkeypatch.setattr(stages, name, lambda *arguments: None)
    monkeypatch.setattr(stages, "conclude", lambda *arguments: UNTIMED)
    return own


def state(store: ResultStore) -> dict[str, object]:
    return store.jobs([KEY])[KEY]


def raising(error: Exception) -> Callable[..., None]:
    def stage(*arguments: object) -> None:
        del arguments
        raise error

    return stage


def test_a_job_goes_from_queued_to_quick_to_done(store: ResultStore) -> None:
    assert experiment_jobs.compute(str(store.root), KEY, RECIPE, "quick")
    assert (state(store)["state"], state(store)["message"]) == ("quick", "timing")
    assert experiment_jobs.time_artifact(str(store.root), KEY, RECIPE, "full")
    assert (state(store)["state"], state(store)["fraction"]) == ("done", 1.0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("steps", "x", "allowed: y"), "steps: 'x' is not allowed; allowed: y"),
        (RuntimeError("two\nlines   of text"), "RuntimeError: two lines of text"),
    ],
)
def test_an_error_ends_the_chain_with_one_line(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    monkeypatch.setattr(stages, "build", raising(error))
    assert not experiment_jobs.compute(str(store.root), KEY, RECIPE, "quick")
    assert (state(store)["state"], state(store)["error"]) == ("failed", told)


def test_a_cancelled_job_is_not_begun(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_job(KEY, "cancelled")
    monkeypatch.setattr(stages, "build", raising(AssertionError("was begun")))
    assert not experiment_jobs.compute(str(store.root), KEY, RECIPE, "quick")
    assert state(store)["state"] == "cancelled"


def test_a_job_that_is_cancelled_while_it_is_begun_stays_so(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "drop_parts", lambda *arguments: store.put_job(KEY, "cancelled"))
    monkeypatch.setattr(stages, "build", raising(AssertionError("was begun")))
    assert not experiment_jobs.compute(str(store.root), KEY, RECIPE, "quick")
    assert state(store)["state"] == "cancelled"


def test_a_stage_after_one_that_stopped_does_nothing(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "clock", raising(AssertionError("was begun")))
    assert not experiment_jobs.time_artifact(str(store.root), KEY, RECIPE, "quick", before=False)
    assert state(store)["state"] == "queued"


@pytest.mark.parametrize(
    ("stage", "tier"), [(experiment_jobs.compute, "quick"), (experiment_jobs.time_artifact, "full")]
)
def test_a_cancellation_in_the_last_moment_stays(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, stage: Stage, tier: str
) -> None:
    def conclude(*arguments: object) -> SimpleNamespace:
        store.put_job(KEY, "cancelled")
        return UNTIMED

    monkeypatch.setattr(stages, "conclude", conclude)
    stage(str(store.root), KEY, RECIPE, tier)
    assert state(store)["state"] == "cancelled"


def test_an_error_after_a_cancellation_does_not_turn_it_into_a_failure(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*arguments: object) -> None:
        store.put_job(KEY, "cancelled")
        raise RuntimeError("interrupted")

    monkeypatch.setattr(stages, "build", build)
    assert not experiment_jobs.compute(str(store.root), KEY, RECIPE, "quick")
    assert state(store) == {"state": "cancelled", "fraction": 0.0, "message": "", "error": None}


def test_a_stage_that_noticed_the_cancellation_leaves_the_state_alone(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "build", raising(CancelledError("cancelled")))
    assert not experiment_jobs.compute(str(store.root), KEY, RECIPE, "quick")
    assert state(store)["state"] == "running"
