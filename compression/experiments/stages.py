"""The stages of one experiment: build, score, time, assemble.

Each leaves its part in the store and does nothing where the part is there already, so a stopped run goes on where
it was, and a first, coarse figure can be refined later.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from compression.core.errors import CancelledError
from compression.experiments.artifacts import GRAPH_NAME, Evaluated, Progress, build_artifact, unrecorded
from compression.experiments.assembly import Parts, assemble
from compression.experiments.clock import MOST_SPREAD, Clock
from compression.experiments.identity import result_key
from compression.experiments.pairing import (
    CORRECT,
    AccuracyChange,
    Correct,
    Scores,
    accuracy_change,
    pack,
    scores_to_dict,
)
from compression.experiments.results import ExperimentResult
from compression.experiments.store import ResultStore
from compression.experiments.tasks import Task, load_task
from compression.metrics.accuracy import evaluate_onnx
from compression.metrics.environment import machine_key
from compression.metrics.latency import LatencyRecord, LatencyTimer
from compression.metrics.memory import measure_peak_memory
from compression.metrics.power import measure_energy
from compression.problems import Evaluation
from compression.recipe import Recipe

Tier = Literal["quick", "full"]
SELECTION = "selection"
_MOST_TRIES, _MOST_DRIFT = {"quick": 4, "full": 3}, 1.5
_MOST_TRIES_EVER, _REPEATING_SECONDS = 9, 30.0
_TIMER = LatencyTimer()


def _no_progress(fraction: float, message: str) -> None:
    del fraction, message


def start_timer() -> None:
    """Start the process that times, ahead of its first use."""
    _TIMER.start()


def key_of(recipe: Recipe) -> str:
    """Key of a recipe's result in the store.

    Raises:
        InputError: if the recipe's model or dataset is unknown or unavailable.
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
    rows = task.coarse_rows(whole)
    coarse = tier == "quick" and len(rows) < len(whole)
    split = whole.taken(rows) if coarse else whole
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
    if task.problem.discrete:
        samples = (len(whole), rows.numpy())
        _put_scores(store, key, task, measured, split.targets.numpy(), samples, coarse=coarse)
    part = {
        "accuracy": measured.accuracy, "low": measured.low, "high": measured.high, "n_samples": measured.n,
        "quality": task.problem.quality.key, "extras": measured.extras, "rows": len(split), "of_rows": len(whole),
        "complete": len(split) == len(whole),
        "coarse": None if coarse else _part_of_scores(task, measured, split.targets.numpy(), rows.numpy()),
    }
    store.put_part(key, "accuracy", part)


def _put_scores(
    store: ResultStore, key: str, task: Task, measured: Evaluation, targets: np.ndarray,
    samples: tuple[int, np.ndarray], *, coarse: bool,
) -> None:
    """Store which predictions were right.

    Args:
        store: Where to.
        key: Of the artifact.
        task: Its task.
        measured: Its predictions.
        targets: What is right.
        samples: Number of all samples, and which of them a first, coarse score takes.
        coarse: Whether only those were scored.
    """
    right, (total, rows) = measured.predictions == targets, samples
    of = f"{task.data_hash}-{total}"
    scores = Scores(
        whole=None if coarse else Correct(of, right.reshape(-1)),
        coarse=Correct(f"{of}-{len(rows)}", right[slice(None) if coarse else rows].reshape(-1)),
    )
    store.put_part(key, CORRECT, scores_to_dict(scores))


def _part_of_scores(task: Task, measured: Evaluation, targets: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """The figures of those samples that a first, coarse score takes."""
    found = task.problem.part(measured, targets, rows)
    return {
        "accuracy": found.accuracy, "low": found.low, "high": found.high, "n_samples": found.n, "extras": found.extras,
    }


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
    part = {
        "accuracy": measured.accuracy, "low": measured.low, "high": measured.high, "n_samples": measured.n,
        "right": pack(measured.predictions == split.targets.numpy()) if task.problem.discrete else "",
    }
    store.put_part(key, SELECTION, part)


def clock(recipe: Recipe, store: ResultStore, tier: Tier, cancelled: Callable[[], bool] = bool) -> None:
    """Time the artifact against its baseline, once per pair of distinct structures and target.

    Latency depends on a graph's structure, shapes and types, not on weight values; so artifacts of one structure
    share a timing. One that was disturbed is taken again a few times, at once and by later jobs that share it; what
    stays disturbed is marked when it is read, see `compression.experiments.clock`.
    """
    key, baseline = key_of(recipe), key_of(recipe.baseline())
    name, structure = timing_name(recipe, store, key)
    known = store.timings.get(name, structure)
    again = known is not None and known["tier"] == "full" and _to_repeat(known)
    if known is None or (tier == "full" and (known["tier"] == "quick" or again)):
        record, tries = _time(recipe, store, (key, baseline), tier, cancelled)
        tries += known["tries"] if known is not None and again else 0
        if known is None or not again or record.spread < known["spread"]:
            known = {**asdict(record), "tier": tier, "spread": record.spread}
        store.timings.put(name, structure, {**known, "tries": tries})
    memory = f"{name}|{structure}"
    if tier == "full" and store.get_part(memory, "memory") is None:
        example = load_task(recipe).example_input(recipe.runtime.batch_size).numpy()
        graph, threads = store.artifact_dir(key) / GRAPH_NAME, recipe.runtime.threads
        peak = measure_peak_memory(graph, example, threads=threads)
        energy = measure_energy(graph, example, threads=threads)
        store.put_part(memory, "memory", {"peak_memory_bytes": peak, "energy_measured_mj": energy})


def _to_repeat(known: dict[str, Any]) -> bool:
    """Whether a stored timing is disturbed and has not been tried often already."""
    return known.get("spread", 0.0) > MOST_SPREAD and known["tries"] < _MOST_TRIES_EVER


def _time(
    recipe: Recipe, store: ResultStore, keys: tuple[str, str], tier: Tier, cancelled: Callable[[], bool]
) -> tuple[LatencyRecord, int]:
    """One timing, of several disturbed ones the least, and how many were tried."""
    example = load_task(recipe).example_input(recipe.runtime.batch_size).numpy()
    pair = [store.artifact_dir(key) / GRAPH_NAME for key in keys]
    known = store.timings.clock(timing_name(recipe, store, keys[0])[0])
    best: LatencyRecord | None = None
    started, tries = time.monotonic(), 0
    while best is None or (tries < _MOST_TRIES[tier] and time.monotonic() - started < _REPEATING_SECONDS):
        tries += 1
        found = _TIMER.time_pair(*pair, example, threads=recipe.runtime.threads, tier=tier, cancelled=cancelled)
        if best is None or found.spread < best.spread:
            best = found
        if not _disturbed(found, known, tier):
            return found, tries
    return best, tries


def _disturbed(record: LatencyRecord, known: Clock, tier: Tier) -> bool:
    """Whether its blocks differ much, or in a short timing the baseline was far from what its other timings say."""
    if record.spread > MOST_SPREAD:
        return True
    if tier == "full" or not known.timings:
        return False
    pooled = known.baseline[0]
    return not pooled / _MOST_DRIFT <= record.baseline_p50_ms <= pooled * _MOST_DRIFT


def timing_name(recipe: Recipe, store: ResultStore, key: str) -> tuple[str, str]:
    """What an artifact's timing is stored under: the clock and the artifact's structure.

    The clock names all that latencies have in common that may be divided by each other: the baseline's structure, the
    runtime, its threads and batch, and the machine with the runtime's version.
    """
    structure, base = (
        _part(store, own, "artifact")["structure_key"] for own in (key, key_of(recipe.baseline()))
    )
    runtime = recipe.runtime
    return f"{base}|{runtime.name}-{runtime.threads}-{runtime.batch_size}|{machine_key()}", structure


def _part(store: ResultStore, key: str, kind: str) -> dict[str, Any]:
    part = store.get_part(key, kind)
    if part is None:
        raise RuntimeError(f"{kind} of {key} has not been made yet")
    return part


def conclude(recipe: Recipe, store: ResultStore) -> ExperimentResult:
    """Put the parts together to a result, store it, and return it as it is read."""
    key, baseline = key_of(recipe), key_of(recipe.baseline())
    found, task = {}, load_task(recipe).info.task
    for own in (key, baseline):
        name, structure = timing_name(recipe, store, own)
        found[own] = Parts(
            artifact=_part(store, own, "artifact"), accuracy=_part(store, own, "accuracy"), task=task,
            memory=store.get_part(f"{name}|{structure}", "memory") or {}, clock=name, structure=structure,
            timing=store.timings.get(name, structure),
        )
    change = _change(recipe, store, key, baseline) if recipe.steps else None
    clock_now = store.timings.clock(found[key].clock)
    result = assemble(key, recipe, found[key], found[baseline], clock_now, change)
    store.put_result(result)
    return result


def _change(recipe: Recipe, store: ResultStore, key: str, baseline: str) -> AccuracyChange | None:
    """Quality less the baseline's, on the same samples; None where no samples are common."""
    task = load_task(recipe)
    if task.problem.discrete:
        scores = store.scores([key, baseline])
        return accuracy_change(scores.get(baseline), scores.get(key))
    whole = task.scoring_split(recipe.n_samples)
    rows, targets = task.coarse_rows(whole).numpy(), whole.targets.numpy()
    found = []
    for own in (baseline, key):
        with np.load(store.artifact_dir(own) / "predictions.npz", allow_pickle=False) as stored:
            found.append({name: stored[name] for name in stored.files})
    if any(len(own["predictions"]) < len(whole) for own in found):
        found = [
            own if len(own["predictions"]) < len(whole) else {name: values[rows] for name, values in own.items()}
            for own in found
        ]
        targets = targets[rows]
    difference = task.problem.paired_difference(found[0], found[1], targets)
    return AccuracyChange(difference.value, difference.low, difference.high, len(targets))


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
