"""Replays an exported bundle and compares what it does with what it says."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compression.artifact.bundle import read_bundle
from compression.artifact.graph.comparison import differing_weights
from compression.artifact.packing import unpack_model
from compression.errors import InputError
from compression.experiments.results import ExperimentResult, result_from_json
from compression.experiments.tasks import load_task
from compression.metrics.accuracy import evaluate_onnx
from compression.metrics.latency import LatencyTimer
from compression.recipe import recipe_from_dict, recipe_from_yaml, recipe_hash


@dataclass(frozen=True)
class Check:
    """One comparison: what the bundle says, what was found, whether they agree."""

    name: str
    stated: str
    found: str
    passed: bool


def verify_bundle(path: Path) -> tuple[ExperimentResult, list[Check]]:
    """Execute a bundle's graph on its data set's test split and compare with its result.

    Accuracy and sizes must agree exactly; a latency is the machine's, so it is shown and only compared where the
    bundle comes from this machine.

    Raises:
        InputError: if the file is no bundle, or its model or data set is not available here.
    """
    with tempfile.TemporaryDirectory() as scratch:
        contents = read_bundle(path, Path(scratch))
        try:
            result = result_from_json(contents.result_json)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError("result.json", type(error).__name__, "an exported result is needed") from None
        recipe = recipe_from_yaml(contents.recipe_yaml)
        checks = [_check_recipe(recipe_hash(recipe), recipe_hash(recipe_from_dict(result.recipe)))]
        checks += _check_sizes(result, contents.onnx_path, contents.packed_path)
        task = load_task(recipe)
        split = task.scoring_split(recipe.n_samples)
        measured = evaluate_onnx(
            contents.onnx_path, task.scoring_batches(split), split.targets.numpy(),
            task=task.info.task, threads=recipe.runtime.threads,
        )
        stated = result.figures
        checks.append(_equal("accuracy", f"{stated.accuracy:.6f}", f"{measured.accuracy:.6f}"))
        checks.append(_equal("n_samples", str(stated.n_samples), str(measured.n)))
        checks.append(_check_latency(result, contents.onnx_path, task.example_input(recipe.runtime.batch_size).numpy()))
    return result, checks


def _equal(name: str, stated: str, found: str) -> Check:
    return Check(name, stated, found, stated == found)


def _check_recipe(own: str, stated: str) -> Check:
    return _equal("recipe", stated, own)


def _check_sizes(result: ExperimentResult, onnx_path: Path, packed_path: Path) -> list[Check]:
    compared, wrong = differing_weights(unpack_model(packed_path), onnx_path)
    return [
        _equal("size_bytes", str(result.figures.size_bytes), str(packed_path.stat().st_size)),
        _equal("runtime_size_bytes", str(result.figures.runtime_size_bytes), str(onnx_path.stat().st_size)),
        Check(
            "packed weights", "those of the graph",
            f"{', '.join(wrong[:3])} differ" if wrong else f"{compared} tensors agree", compared > 0 and not wrong,
        ),
    ]


def _check_latency(result: ExperimentResult, onnx_path: Path, example: np.ndarray) -> Check:
    runtime = recipe_from_dict(result.recipe).runtime
    timer = LatencyTimer()
    try:
        record = timer.time_pair(onnx_path, onnx_path, example, threads=runtime.threads, tier="quick")
    finally:
        timer.close()
    stated = result.figures.latency_ms_p50
    shown = "not timed" if stated is None else f"{stated:.3f} ms"
    return Check("latency (informative)", shown, f"{record.p50_ms:.3f} ms", True)
