"""Replays an exported bundle and compares what it does with what it says."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from compression.analysis.other_runtimes import unpacked_model
from compression.artifact.bundle import BundleContents, read_bundle
from compression.artifact.graph.checking import checked_samples, reference
from compression.artifact.graph.comparison import differing_weights
from compression.artifact.graph.integers import wide_layers
from compression.artifact.graph.reading import read_graph
from compression.artifact.packing import unpack_model
from compression.bundles.checks import Check, equal
from compression.bundles.inputs import input_spec
from compression.bundles.members import check_members
from compression.bundles.promise_checks import check_promise
from compression.core.errors import InputError
from compression.experiments.results import ExperimentResult, result_from_json
from compression.experiments.tasks import Task, load_task
from compression.metrics.accuracy import evaluate_onnx
from compression.metrics.environment import PAIR_LIMIT, int8_symbol_limit
from compression.metrics.latency import LatencyTimer
from compression.recipe import Recipe, recipe_from_dict, recipe_from_yaml, recipe_hash
from compression.state import state_of
from models.datasets import Split

_COMPARED = (
    "task", "shape", "dtype", "scale", "mean", "std", "channel_order", "num_classes", "classes", "image", "text",
    "runtime", "stated", "wide_integer_weights",
)


def verify_bundle(path: Path) -> tuple[ExperimentResult, list[Check]]:
    """Execute a bundle's graph on its dataset's test split and compare with its result.

    Accuracy and sizes must agree exactly; a latency is the machine's, so it is shown and only compared where the
    bundle comes from this machine.

    Raises:
        InputError: if the file is no bundle, or its model or dataset is not available here.
    """
    with tempfile.TemporaryDirectory() as scratch:
        contents = read_bundle(path, Path(scratch))
        result = _read_result(contents.result_json)
        recipe = recipe_from_yaml(contents.recipe_yaml)
        proto = read_graph(contents.onnx_path)
        checks = [_check_recipe(recipe_hash(recipe), recipe_hash(recipe_from_dict(result.recipe)))]
        checks += _check_sizes(result, contents)
        task = load_task(recipe)
        _check_input(proto, task)
        spec = input_spec(task, result, proto, wide_weights=bool(wide_layers(proto)))
        checks.append(_check_spec(contents.input_spec, spec))
        checks += check_members(contents, task, result, proto, spec)
        checks += _check_graph(recipe, task, proto, contents.packed_path)
        split = _scored_split(task, recipe, result)
        measured = evaluate_onnx(
            contents.onnx_path, task.scoring_batches(split), split.targets.numpy(),
            task=task.info.task, threads=task.scoring_threads(recipe.runtime.threads),
        )
        stated = result.figures
        agreement = equal(task.problem.quality.word, f"{stated.accuracy:.6f}", f"{measured.accuracy:.6f}")
        checks.append(replace(agreement, note=_overflow_note(proto)))
        checks.append(equal("n_samples", str(stated.n_samples), str(measured.n)))
        checks += check_promise(contents.members, task, measured.predictions == split.targets.numpy())
        checks.append(_check_latency(result, contents.onnx_path, task.example_input(recipe.runtime.batch_size).numpy()))
    return result, checks


def _read_result(text: str) -> ExperimentResult:
    try:
        result = result_from_json(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("result.json", type(error).__name__, "an exported result is needed") from None
    for f in fields(result.figures):
        value = getattr(result.figures, f.name)
        if f.type is str and isinstance(value, str):
            continue
        if not isinstance(value, int | float) and (value is not None or f.default is not None):
            raise InputError(f"result.json: {f.name}", value, "a number is needed")
    return result


def _scored_split(task: Task, recipe: Recipe, result: ExperimentResult) -> Split:
    """The samples that the stated accuracy comes from: of a first, quick figure those of the quick tier."""
    whole = task.scoring_split(recipe.n_samples)
    quick = whole.taken(task.coarse_rows(whole))
    return quick if result.figures.n_samples == quick.targets.numel() else whole


def _overflow_note(proto: onnx.ModelProto) -> str:
    """Why a graph from another processor may compute something else here; empty if it does not."""
    wide = wide_layers(proto) if int8_symbol_limit() <= PAIR_LIMIT else []
    if not wide:
        return ""
    return (
        f"accuracy and predictions may differ here: {len(wide)} layers have 8-bit weights with 8-bit activations, with "
        "which the integer kernels of this processor (x86 without VNNI) overflow; run the recipe here for 7-bit weights"
    )


def _check_recipe(own: str, stated: str) -> Check:
    return equal("recipe", stated, own)


def _check_sizes(result: ExperimentResult, contents: BundleContents) -> list[Check]:
    onnx_path, packed_path = contents.onnx_path, contents.packed_path
    return [
        equal("size_bytes", str(result.figures.size_bytes), str(packed_path.stat().st_size)),
        equal("runtime_size_bytes", str(result.figures.runtime_size_bytes), str(onnx_path.stat().st_size)),
    ]


def _check_input(proto: onnx.ModelProto, task: Task) -> None:
    """Raises an InputError where the graph does not take the samples of the recipe's model."""
    lengths = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    wanted = list(task.info.input_shape)
    if len(lengths) != len(wanted) or any(a not in (0, b) for a, b in zip(lengths, wanted, strict=True)):
        shown = "x".join(map(str, lengths))
        raise InputError("model.onnx", f"input {shown}", f"the recipe's model takes {'x'.join(map(str, wanted))}")


def _check_spec(stated: Mapping[str, Any], fresh: Mapping[str, Any]) -> Check:
    """Preprocessing, classes and figures that run.py uses, against those of the recipe's model and of the result.

    Entries that a bundle of an earlier version lacks are not compared, nor what only describes the exporter's version.
    """
    if not isinstance(stated, dict):
        raise InputError("input_spec.json", type(stated).__name__, "a mapping is needed")
    fresh = json.loads(json.dumps(fresh))
    wrong = [name for name in _COMPARED if name in stated and name in fresh and _differ(stated[name], fresh[name])]
    found = f"{', '.join(wrong[:3])} differ" if wrong else "equal"
    return Check("input_spec.json", "that of the recipe's model", found, not wrong)


def _differ(stated: Any, fresh: Any) -> bool:
    if isinstance(stated, dict) and isinstance(fresh, dict):
        return any(_differ(stated[key], fresh[key]) for key in stated.keys() & fresh.keys())
    return bool(stated != fresh)


def _check_graph(recipe: Recipe, task: Task, proto: onnx.ModelProto, packed_path: Path) -> list[Check]:
    """The network with the packed weights against the graph: tensor by tensor, and of float graphs the output."""
    model = unpacked_model(recipe, task, packed_path)
    samples = checked_samples(task.prepare(task.calibration_split.inputs[:]))
    grids = unpack_model(packed_path).activation_grids
    try:
        compared, wrong = differing_weights(model, proto, samples[:1], grids)
    except RuntimeError as error:
        reason = f"weights of the recipe's model are needed: {' '.join(str(error).split())[:120]}"
        raise InputError("weights.packed", packed_path.name, reason) from None
    found = f"{', '.join(wrong[:3])} differ" if wrong else f"{compared} tensors agree"
    checks = [Check("packed weights", "those of the graph", found, compared > 0 and not wrong)]
    if not grids and state_of(model).compute_dtype is None:
        same = reference(model, samples).agrees(proto)
        found = f"{'equal' if same else 'different'} on {len(samples)} samples"
        checks.append(Check("output of the graph", "that of the packed network in PyTorch", found, same))
    return checks


def _check_latency(result: ExperimentResult, onnx_path: Path, example: np.ndarray) -> Check:
    runtime = recipe_from_dict(result.recipe).runtime
    timer = LatencyTimer()
    try:
        record = timer.time_pair(onnx_path, onnx_path, example, threads=runtime.threads, tier="quick")
    finally:
        timer.close()
    stated = result.figures.latency_ms_p50
    shown = "not timed" if stated is None else f"{stated:.3f} ms"
    return Check("latency (informative; found: raw median)", shown, f"{record.baseline_p50_ms:.3f} ms", True)
