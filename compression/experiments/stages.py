"""The stages of one experiment: build, score, time, assemble.

Each leaves its part in the store and does nothing where the part is there already, so a stopped run goes on where
it was, and a first, coarse figure can be refined later.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compression.errors import CancelledError
from compression.experiments.artifacts import GRAPH_NAME, Evaluated, Progress, build_artifact, unrecorded
from compression.experiments.assembly import assemble
from compression.experiments.identity import result_key
from compression.experiments.results import ExperimentResult
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.metrics.accuracy import evaluate_onnx
from compression.metrics.environment import machine_key
from compression.metrics.latency import LatencyTimer
from compression.metrics.memory import measure_peak_memory
from compression.metrics.power import measure_energy
from compression.recipe import Recipe

Tier = Literal["quick", "full"]
SELECTION = "selection"
_TIMER = LatencyTimer()


def _no_progress(fraction: float, message: str) -> None:
    del fraction, message


def start_timer() -> None:
    """Start the process that times, ahead of its first use."""
    _TIMER.start()


def key_of(recipe: Recipe) -> str:
    """Key of a recipe's result in the store.

    Raises:
        InputError: if the recipe's model or data set is unknown or unavailable.
    """
    task = load_task(recipe)
    return result_key(recipe, task.model_hash, task.data_hash)


def build(
    recipe: Recipe, store: ResultStore, progress: Progress = _no_progress, cancelled: Callable[[], bool] = bool,
    enough: Callable[[], bool] = bool, evaluated: Evaluated = unrecorded,
) -> str:
    """Make a recipe's artifact unless it is there; returns its key.

    Args:
        recipe: What to make.
        store: Where it is kept.
        progress: Called with a fraction and a message.
        cancelled: Polled; True stops and keeps nothing.
        enough: Polled; True ends a training early with its best state so far.
        evaluated: Called with the curve so far after each evaluation of a training.
    """
    task = load_task(recipe)
    key = result_key(recipe, task.model_hash, task.data_hash)
    folder = store.artifact_dir(key)
    if store.get_part(key, "artifact") is None or not (folder / GRAPH_NAME).is_file():
        task.make_ready(progress, cancelled)
        record = build_artifact(recipe, task, folder, store.cache_dir(), progress, cancelled, enough, evaluated)
        store.put_part(key, "artifact", asdict(record))
    return key


def score(
    recipe: Recipe, store: ResultStore, tier: Tier, progress: Progress = _no_progress,
    cancelled: Callable[[], bool] = bool,
) -> None:
    """Execute the artifact on the test split, or for the quick tier on a fixed subset of it."""
    task = load_task(recipe)
    key = result_key(recipe, task.model_hash, task.data_hash)
    task.make_ready(progress, cancelled)
    whole = task.scoring_split(recipe.n_samples)
    quick = task.scoring_split(min(len(whole), task.quick_samples))
    split = quick if tier == "quick" and len(quick) < len(whole) else whole
    known = store.get_part(key, "accuracy")
    if known is not None and known["rows"] >= len(split):
        return
    folder = store.artifact_dir(key)
    measured = evaluate_onnx(
        folder / GRAPH_NAME,
        task.scoring_batches(split),
        split.targets.numpy(),
        task=task.info.task,
        threads=task.scoring_threads(recipe.runtime.threads),
        progress=progress,
        cancelled=cancelled,
    )
    np.savez_compressed(folder / "predictions.npz", **measured.arrays)
    part = {
        "accuracy": measured.accuracy, "low": measured.low, "high": measured.high, "n_samples": measured.n,
        "quality": task.problem.quality.key, "extras": measured.extras, "rows": len(split),
        "complete": len(split) == len(whole),
    }
    store.put_part(key, "accuracy", part)


def score_selection(
    recipe: Recipe, store: ResultStore, progress: Progress = _no_progress, cancelled: Callable[[], bool] = bool
) -> None:
    """Execute the artifact on the samples that searches choose by; they are of the training split."""
    task = load_task(recipe)
    key = result_key(recipe, task.model_hash, task.data_hash)
    if store.get_part(key, SELECTION) is not None:
        return
    split = task.selection_split
    measured = evaluate_onnx(
        store.artifact_dir(key) / GRAPH_NAME, task.scoring_batches(split), split.targets.numpy(),
        task=task.info.task, threads=recipe.runtime.threads, progress=progress, cancelled=cancelled,
    )
    part = {"accuracy": measured.accuracy, "low": measured.low, "high": measured.high, "n_samples": measured.n}
    store.put_part(key, SELECTION, part)


def clock(recipe: Recipe, store: ResultStore, tier: Tier, cancelled: Callable[[], bool] = bool) -> None:
    """Time the artifact against its baseline, once per pair of distinct structures and machine.

    Latency depends on a graph's structure, shapes and types, not on weight values; so artifacts of one structure
    share a measurement.
    """
    task = load_task(recipe)
    key, baseline = key_of(recipe), key_of(recipe.baseline())
    name = latency_name(recipe, store, key, baseline)
    known = store.get_part(name, "latency")
    if known is None or (tier == "full" and known["tier"] == "quick"):
        example = task.example_input(recipe.runtime.batch_size).numpy()
        pair = (store.artifact_dir(key) / GRAPH_NAME, store.artifact_dir(baseline) / GRAPH_NAME)
        record = _TIMER.time_pair(*pair, example, threads=recipe.runtime.threads, tier=tier, cancelled=cancelled)
        store.put_part(name, "latency", {**asdict(record), "tier": tier})
    if tier == "full" and store.get_part(name, "memory") is None:
        example = task.example_input(recipe.runtime.batch_size).numpy()
        graph, threads = store.artifact_dir(key) / GRAPH_NAME, recipe.runtime.threads
        peak = measure_peak_memory(graph, example, threads=threads)
        energy = measure_energy(graph, example, threads=threads)
        store.put_part(name, "memory", {"peak_memory_bytes": peak, "energy_measured_mj": energy})


def latency_name(recipe: Recipe, store: ResultStore, key: str, baseline: str) -> str:
    """Name under which a pair's latency is stored: both structures, the runtime and the machine."""
    structures = [_part(store, k, "artifact")["structure_key"] for k in (key, baseline)]
    runtime = f"{recipe.runtime.name}-{recipe.runtime.threads}-{recipe.runtime.batch_size}"
    return "|".join([*structures, runtime, machine_key()])


def _part(store: ResultStore, key: str, kind: str) -> dict[str, Any]:
    part = store.get_part(key, kind)
    if part is None:
        raise RuntimeError(f"{kind} of {key} has not been made yet")
    return part


def conclude(recipe: Recipe, store: ResultStore) -> ExperimentResult:
    """Put the parts together to a result and store it."""
    key, baseline = key_of(recipe), key_of(recipe.baseline())
    parts = {}
    for who, k, own in (("own", key, recipe), ("baseline", baseline, recipe.baseline())):
        name = latency_name(own, store, k, baseline)
        parts[who] = {
            "artifact": _part(store, k, "artifact"),
            "accuracy": _part(store, k, "accuracy"),
            "latency": store.get_part(name, "latency"),
            "memory": store.get_part(name, "memory"),
        }
    result = assemble(key, recipe, parts["own"], parts["baseline"])
    store.put_result(result)
    return result


def run_experiment(
    recipe: Recipe,
    store: ResultStore,
    *,
    quick: bool = False,
    progress: Progress = _no_progress,
    cancelled: Callable[[], bool] = bool,
) -> ExperimentResult:
    """All stages of one recipe in this process, its baseline's included; stored parts are reused.

    A stored result whose training was stopped early is replaced by that of the whole training.

    Raises:
        InputError: if the recipe cannot be carried out.
        CancelledError: if `cancelled` became true.
    """
    key = key_of(recipe)
    stored = store.get_result(key)
    if stored is not None and stored.stopped_early:
        store.remove(key)
    elif stored is not None and (stored.stage == "full" or quick):
        return stored
    tier: Tier = "quick" if quick else "full"
    for own, start in ((recipe.baseline(), 0.0), (recipe, 0.4)):
        build(own, store, _part_of(progress, start, start + 0.2), cancelled)
        score(own, store, tier, _part_of(progress, start + 0.2, start + 0.35), cancelled)
        progress(start + 0.35, "timing")
        clock(own, store, tier, cancelled)
        if cancelled():
            raise CancelledError("cancelled")
    progress(1.0, "done")
    return conclude(recipe, store)


def _part_of(progress: Progress, start: float, end: float) -> Progress:
    def report(fraction: float, message: str) -> None:
        progress(start + (end - start) * fraction, message)

    return report


def paths_of(store: ResultStore, keys: Iterable[str]) -> list[Path]:
    """ONNX files of results."""
    return [store.artifact_dir(key) / GRAPH_NAME for key in keys]
