"""The result store: what one process writes another one reads."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from compression.experiments.results import ExperimentResult, Figures, LayerRecord
from compression.experiments.store import ResultStore

ROOT = Path(__file__).resolve().parents[2]
FIGURES = Figures(
    accuracy=0.5, accuracy_low=0.4, accuracy_high=0.6, n_samples=10, size_bytes=1, runtime_size_bytes=2, macs=3,
    parameters=4, nonzero_parameters=4,
)


def result(key: str, created: str = "2026-01-01", model: str = "digits_resnet") -> ExperimentResult:
    layer = LayerRecord("conv1", "Conv2d", (2, 1, 3, 3), 10, 20, 0.0, "float32", "float32")
    return ExperimentResult(
        key=key, recipe={"model": model, "dataset": "digits"}, figures=FIGURES, baseline=FIGURES,
        badges={"accuracy": "measured"}, layers=(layer,), notes=("a note",), created=created,
    )


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "store")


def test_another_process_reads_what_was_written_and_cancels_what_runs(store: ResultStore) -> None:
    store.put_result(result("one"))
    store.put_part("one", "accuracy", {"accuracy": 0.5, "rows": 10})
    store.put_job("one", "running", 0.1, "scoring")
    assert store.advance_job("one", 0.2, "timing")
    program = (
        "import sys\nfrom pathlib import Path\nfrom compression.experiments.store import ResultStore\n"
        "store = ResultStore(Path(sys.argv[1]))\nfound = store.get_result('one')\n"
        "print(found.figures.accuracy, found.layers[0].shape, store.get_part('one', 'accuracy')['rows'])\n"
        "print(store.jobs(['one'])['one']['message'])\n"
        "store.put_job('one', 'cancelled')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(store.root)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["0.5 (2, 1, 3, 3) 10", "timing"], done.stderr
    assert not store.advance_job("one", 0.3, "timing")
    assert store.jobs(["one"])["one"]["state"] == "cancelled"


def test_a_result_survives_reopening_unchanged(store: ResultStore) -> None:
    written = result("one")
    store.put_result(written)
    store.close()
    assert ResultStore(store.root).get_result("one") == written


def test_results_are_read_again_only_where_another_has_replaced_them(store: ResultStore) -> None:
    store.put_result(result("one"))
    store.put_result(result("two"))
    before = store.results()
    assert before == [result("one"), result("two")]
    ResultStore(store.root).put_result(replace(result("two"), notes=("another",)))
    after = store.results()
    assert after[0] is before[0] and after[1].notes == ("another",)


def test_writing_again_replaces(store: ResultStore) -> None:
    store.put_result(result("one"))
    better = replace(result("one"), figures=replace(FIGURES, accuracy=0.9))
    store.put_result(better)
    assert store.results() == [better]
    store.put_part("one", "latency", {"p50_ms": 1.0})
    store.put_part("one", "latency", {"p50_ms": 2.0})
    assert store.get_part("one", "latency") == {"p50_ms": 2.0}


def test_results_come_oldest_first_and_by_model(store: ResultStore) -> None:
    for key, created, model in (("c", "2026-03-01", "m"), ("a", "2026-01-01", "m"), ("b", "2026-02-01", "other")):
        store.put_result(result(key, created, model))
    assert [r.key for r in store.results()] == ["a", "b", "c"]
    assert [r.key for r in store.results(model="m")] == ["a", "c"]
    assert store.results(model="m", dataset="cifar10") == []


def test_removing_takes_everything_of_that_key_and_nothing_else(store: ResultStore) -> None:
    for key in ("one", "two"):
        store.put_result(result(key))
        store.put_part(key, "artifact", {"macs": 1})
        store.put_job(key, "done")
        (store.artifact_dir(key) / "model.onnx").write_bytes(b"x")
    store.remove("one")
    assert store.get_result("one") is None
    assert store.get_part("one", "artifact") is None
    assert store.jobs(["one", "two"]).keys() == {"two"}
    assert [p.name for p in (store.root / "artifacts").iterdir()] == ["two"]
    assert store.get_part("two", "artifact") == {"macs": 1}


def test_what_is_not_there_is_none(store: ResultStore) -> None:
    assert store.get_result("nothing") is None
    assert store.get_part("nothing", "artifact") is None
    assert store.jobs(["nothing"]) == {}
    store.remove("nothing")
    assert store.advance_job("nothing", 0.5, "running")
    assert store.jobs(["nothing"]) == {}


def test_jobs_of_a_stopped_server_are_forgotten_but_not_how_others_ended(store: ResultStore) -> None:
    for state in ("queued", "running", "failed", "cancelled", "done"):
        store.put_job(state, state)
    store.clear_unfinished_jobs()
    assert store.jobs(["queued", "running", "failed", "cancelled", "done"]).keys() == {"failed", "cancelled", "done"}


def test_keys_that_look_like_code_are_only_keys(store: ResultStore) -> None:
    store.put_job("x'; drop table jobs; --", "queued")
    assert store.jobs(["x'; drop table jobs; --"]).keys() == {"x'; drop table jobs; --"}


def test_only_a_queued_job_is_begun_and_a_cancelled_one_stays_cancelled(store: ResultStore) -> None:
    store.put_job("one", "queued")
    assert store.begin_job("one") and not store.begin_job("one") and not store.begin_job("nothing")
    store.move_job("one", "quick", 0.8)
    assert (store.jobs(["one"])["one"]["state"], store.jobs(["one"])["one"]["fraction"]) == ("quick", 0.8)
    store.put_job("one", "cancelled")
    store.move_job("one", "done", 1.0)
    store.move_job("two", "failed", error="lost")
    assert [own["state"] for own in store.jobs(["one", "two"]).values()] == ["cancelled", "failed"]
