"""How long a person waits: first measured points of slider moves and curves, printed beside their targets.

    python -m tests.benchmarks.slider_speed [--model digits_resnet]

Measured through the service that the pages use, with its worker processes, on an empty folder of results.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from compression.recipe import Recipe, recipe_from_dict
from compression.service.facade import Service
from models.registry import model_info

MOVES: dict[str, tuple[dict[str, object], ...]] = {
    "weight_pruning": tuple({"sparsity": v} for v in (0.33, 0.47, 0.61, 0.72, 0.83, 0.91)),
    "channel_pruning": tuple({"pruning_ratio": v} for v in (0.11, 0.23, 0.34, 0.42, 0.56)),
    "quantization": (
        {"weight_bits": 8, "activation_bits": 8}, {"weight_bits": 5}, {"weight_bits": 4}, {"weight_bits": 3},
        {"weight_bits": 4, "activation_bits": 8}, {"weight_bits": 16, "activation_bits": 16},
    ),
    "low_rank": tuple({"rank_ratio": v} for v in (0.85, 0.65, 0.45)),
    "weight_sharing": tuple({"n_clusters": v} for v in (24, 12, 6)),
    "binarization": ({"levels": "ternary"}, {"levels": "binary"}),
}
SWEEP = "quantization"
POLL_SECONDS = 0.03  # looking oftener would take the time that it measures


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="digits_resnet")
    model = parser.parse_args().model
    with tempfile.TemporaryDirectory() as folder:
        _measure(Recipe(model, model_info(model).dataset), Path(folder))
    return 0


def _measure(baseline: Recipe, root: Path) -> None:
    started = time.perf_counter()
    service = Service(root)
    ready = time.perf_counter() - started
    try:
        keys = service.submit_sweep(baseline, SWEEP)
        _show("server start, workers up (empty store)", ready)
        first = _until_result(service, keys, 1)
        _show("first point of the first curve, after that", first, 5.0)
        _show(f"{len(keys)}-point sweep of {SWEEP}, first request", first + _until_result(service, keys, len(keys)))
        _settle(service, keys)
        _sweeps(service, baseline)
        _sliders(service, baseline)
    finally:
        service.close()


def _sweeps(service: Service, baseline: Recipe) -> None:
    for technique in MOVES:
        own = replace(baseline, seed=2) if technique == SWEEP else baseline  # its curve was the first request
        start = time.perf_counter()
        keys = service.submit_sweep(own, technique)[:10]
        first = _until_result(service, keys, 1)
        _show(f"{technique}: first point of its curve", first, 5.0)
        _until_result(service, keys, len(keys))
        _show(f"{technique}: {len(keys)}-point sweep", time.perf_counter() - start, 10.0)
        _settle(service, keys)


def _sliders(service: Service, baseline: Recipe) -> None:
    waits: dict[str, list[float]] = {}
    for technique, moves in MOVES.items():
        for values in moves:
            recipe = recipe_from_dict({
                "model": baseline.model, "dataset": baseline.dataset, "seed": 1,  # what no curve has measured
                "steps": [{"technique": technique, **values}],
            })
            start = time.perf_counter()
            key = service.submit(recipe, priority=10)
            _until_result(service, [key], 1)
            waits.setdefault(technique, []).append(time.perf_counter() - start)
            _settle(service, [key])
            start = time.perf_counter()
            _until_result(service, [service.submit(recipe)], 1)
            waits.setdefault("stored", []).append(time.perf_counter() - start)
    stored = waits.pop("stored")
    for technique, seconds in waits.items():
        _show(f"{technique}: slider move, p50 of {len(seconds)}", statistics.median(seconds))
    every = [s for seconds in waits.values() for s in seconds]
    _show(f"slider move to a first measured point, p50 of {len(every)}", statistics.median(every), 1.0)
    _show("the same, slowest", max(every))
    _show(f"slider move to a stored point, p50 of {len(stored)}", statistics.median(stored), 0.1)


def _until_result(service: Service, keys: Iterable[str], wanted: int) -> float:
    """Seconds until so many jobs have a first measured result."""
    start, keys = time.perf_counter(), list(keys)
    while True:
        found = service.status(keys).values()
        failed = [status.error for status in found if status.state == "failed"]
        if failed:
            raise RuntimeError(f"a point failed: {failed[0]}")
        if sum(status.result is not None for status in found) >= wanted:
            return time.perf_counter() - start
        time.sleep(POLL_SECONDS)


def _settle(service: Service, keys: Iterable[str]) -> None:
    """Wait until nothing is being refined in the background."""
    while any(status.state != "done" for status in service.status(keys).values()):
        time.sleep(0.05)


def _show(what: str, seconds: float, target: float | None = None) -> None:
    verdict = "" if target is None else f"   target {target:g} s: {'met' if seconds < target else 'MISSED'}"
    sys.stdout.write(f"{what:<64} {seconds:7.3f} s{verdict}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
