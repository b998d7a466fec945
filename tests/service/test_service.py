"""The service with its real workers: submit, follow, cancel, reappear, leave nothing behind."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from compression.core.errors import InputError
from compression.jobs.engine import Engine
from compression.jobs.status import JobStatus
from compression.recipe import Recipe, recipe_from_dict
from compression.service.facade import Service


def recipe(sparsity: float | None = None, model: str = "digits_resnet") -> Recipe:
    steps = [] if sparsity is None else [{"technique": "weight_pruning", "sparsity": sparsity}]
    return recipe_from_dict({"model": model, "dataset": "digits", "n_samples": 300, "steps": steps})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


def _children() -> list[psutil.Process]:
    """Python processes below this one; a browser that other tests share starts and ends its own as it likes."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [process] if process.name().startswith("python") else []
    return found


@pytest.fixture(scope="module")
def service(root: Path) -> Iterator[Service]:
    before = set(_children())
    own = Service(root, Engine(root, compute_workers=2))
    yield own
    started = set(_children()) - before
    assert len(started) >= 3
    own.close()
    _, alive = psutil.wait_procs(list(started), timeout=60)
    assert alive == []


def until(service: Service, key: str, state: str, seconds: float = 120) -> JobStatus:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = service.status([key])[key]
        if status.state == state:
            return status
        assert status.state != "failed", status.error
        time.sleep(0.05)
    raise AssertionError(f"{key} did not become {state}")


def test_a_coarse_figure_comes_first_and_is_refined(service: Service) -> None:
    key = service.submit(recipe(0.5))
    end, first = time.monotonic() + 120, None
    while first is None and time.monotonic() < end:
        first = service.status([key])[key].result
        time.sleep(0.02)
    assert first is not None and first.stage == "quick" and first.figures.n_samples == 160
    final = until(service, key, "done").result
    assert final is not None and final.stage == "full" and final.figures.n_samples == 300
    assert final.figures.latency_ms_p50 is not None and final.figures.peak_memory_bytes is not None
    width = first.figures.accuracy_high - first.figures.accuracy_low
    assert final.figures.accuracy_high - final.figures.accuracy_low < width


def test_a_second_process_that_compresses_joins_and_each_is_warmed_up_and_tied(service: Service) -> None:
    local = service._engine._local
    assert local is not None
    local.client.wait_for_workers(3, timeout=120)
    workers = local.client.scheduler_info(n_workers=-1)["workers"]
    offered = {address: str(worker["resources"]) for address, worker in workers.items()}
    assert sorted(offered.values()) == ["{'compute': 1}", "{'compute': 1}", "{'timing': 1}"]
    end = time.monotonic() + 120
    while time.monotonic() < end and (len(local._warm) < 3 or not all(own.done() for own in local._warm)):
        time.sleep(0.1)
    at = {key: {offered[own] for own in holders} for key, holders in local.client.who_has(local._warm).items()}
    assert at.pop("warm-timing") == {"{'timing': 1}"}, "what is measured must not wait for what gives way to it"
    assert len(at) == 2
    threads = local.client.run(lambda: [thread.name for thread in threading.enumerate()])
    assert all("lifeline" in names for names in threads.values())


def test_what_is_stored_is_there_at_once(service: Service, root: Path) -> None:
    key = service.submit(recipe(0.5))
    assert service.status([key])[key].state == "done"
    assert [r.key for r in service.results(model="digits_resnet")].count(key) == 1
    assert service.bundle(key).is_file()


def test_a_sweep_is_measured_around_the_recipe(service: Service) -> None:
    keys = service.submit_sweep(recipe(0.5), "weight_pruning", values=[0.3, 0.5])
    for key in keys:
        until(service, key, "done")
    sizes = [result.figures.size_bytes for key in keys if (result := service.result(key))]
    assert sizes[0] > sizes[1]


def test_cancelled_work_stops_and_can_be_asked_for_again(service: Service) -> None:
    keys = [service.submit(recipe(s)) for s in (0.41, 0.42, 0.43, 0.44)]
    service.cancel(keys)
    assert {status.state for status in service.status(keys).values()} == {"cancelled"}
    assert service.submit(recipe(0.44)) == keys[-1]
    until(service, keys[-1], "done")


def test_a_recipe_that_cannot_be_carried_out_fails_with_its_reason(service: Service) -> None:
    nowhere = {"technique": "block_sharing", "n_unique_blocks": 1, "layers": {"include": ["nothing here"]}}
    key = service.submit(recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "steps": [nowhere]}))
    end = time.monotonic() + 60
    while service.status([key])[key].state != "failed" and time.monotonic() < end:
        time.sleep(0.05)
    assert "block_sharing" in (service.status([key])[key].error or "")


def test_unknown_models_and_keys_are_refused(service: Service) -> None:
    with pytest.raises(InputError, match="model"):
        service.submit(recipe(model="resnet1"))
    with pytest.raises(InputError, match="result"):
        service.bundle("0" * 20)
