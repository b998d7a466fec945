"""Work that is done when it is first asked for, and once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compression.experiments.store import ResultStore
from compression.jobs import side_jobs
from compression.jobs.side_work import SideWork
from compression.service import comparisons, technique_pictures
from compression.service.comparisons import Comparisons
from compression.service.layer_values import Distributions
from compression.service.runtime_exports import Exports
from compression.service.technique_pictures import Illustrations

Submitted = tuple[str, tuple[Any, ...], tuple[Any, ...], int]
SUBMITS: list[tuple[type[SideWork], Callable[[Any], str], Callable[..., bool], tuple[str, ...], int]] = [
    (Comparisons, lambda own: own.submit_difference("a", "b"), side_jobs.compare, ("a", "b"), 70),
    (Comparisons, lambda own: own.submit_weights("a"), side_jobs.count_weights, ("a",), 70),
    (Distributions, lambda own: own.submit("a"), side_jobs.distribute, ("a",), 50),
    (Illustrations, lambda own: own.submit("m", "t"), side_jobs.illustrate, ("m", "t"), 60),
    (Exports, lambda own: own.submit("a", "torch"), side_jobs.export_program, ("a",), 20),
]


class Recorder:
    """An engine that only notes what it is asked for."""

    def __init__(self) -> None:
        self.submitted: list[Submitted] = []

    def submit_stages(self, job: str, stages: Any, arguments: Any, priority: int, lost: Any) -> None:
        assert callable(lost)
        self.submitted.append((job, stages, arguments, priority))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    monkeypatch.setattr(technique_pictures, "illustration_key", lambda model, technique: f"picture {model} {technique}")
    monkeypatch.setattr(technique_pictures, "read_illustration", lambda store, model, technique: None)
    monkeypatch.setattr(Distributions, "job", lambda self, key: f"values {key}")
    return ResultStore(tmp_path)


@pytest.mark.parametrize(("part", "submit", "function", "arguments", "priority"), SUBMITS)
def test_work_is_submitted_once_until_it_has_ended(
    store: ResultStore, part: type[SideWork], submit: Callable[[Any], str], function: Callable[..., bool],
    arguments: tuple[str, ...], priority: int,
) -> None:
    engine = Recorder()
    own = part(store, engine, lambda job, reason: None)  # type: ignore[arg-type]
    job = submit(own)
    assert engine.submitted == [(job, ((function, False),), arguments, priority)]
    assert store.jobs([job])[job]["state"] == "queued"
    assert submit(own) == job and len(engine.submitted) == 1, "it is under way"
    store.put_job(job, "failed", error="lost")
    assert submit(own) == job and len(engine.submitted) == 2, "what has failed is tried anew"


def test_what_is_known_is_not_done_again(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, reads = Recorder(), []
    monkeypatch.setattr(comparisons, "read_statistics", lambda store, key: reads.append(key) or ("layer",))
    own = Comparisons(store, engine, lambda job, reason: None)  # type: ignore[arg-type]
    assert own.submit_weights("a") == own.weights_job("a") and not engine.submitted
    assert own.weights("a") == ("layer",) and reads == ["a"], "kept in memory"
