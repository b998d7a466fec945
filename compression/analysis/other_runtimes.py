"""A stored artifact in other runtimes: the very ONNX file in OpenVINO, the packed weights as a PyTorch program."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from compression.analysis.runtime_records import RUNTIMES, RuntimeRecord, part_of, runtime_info
from compression.artifact.packing import load_packed, unpack_model
from compression.core.errors import CancelledError, InputError
from compression.experiments.artifacts import GRAPH_NAME, PACKED_NAME, Progress
from compression.experiments.results import ExperimentResult
from compression.experiments.stages import build, key_of
from compression.experiments.store import ResultStore, now
from compression.experiments.tasks import Task, load_task
from compression.metrics.accuracy import evaluate_onnx
from compression.metrics.environment import machine_key
from compression.metrics.session import open_session
from compression.problems import Problem
from compression.recipe import Recipe, recipe_from_dict
from compression.state import state_of
from compression.structure.rebuilding import rebuild
from compression.targets.openvino_runtime import OpenVino, require_openvino
from compression.targets.torch_program import run_program, write_program
from models.students import students_of

_COMPARED = 200
_CLOSE = 2e-3
_SCORED = "scored"


@dataclass(frozen=True)
class _Subject:
    """What is taken to another runtime."""

    result: ExperimentResult
    recipe: Recipe
    task: Task
    folder: Path

    @property
    def graph(self) -> Path:
        return self.folder / GRAPH_NAME


def _subject(store: ResultStore, key: str) -> _Subject:
    result = store.get_result(key)
    if result is None:
        raise InputError("result", key, "the key of a stored result is needed")
    folder = store.artifact_dir(key)
    if not (folder / GRAPH_NAME).is_file():
        raise InputError("result", key, "its files are no longer there: measure its recipe again")
    recipe = recipe_from_dict(result.recipe)
    return _Subject(result, recipe, load_task(recipe), folder)


def score_in_openvino(store: ResultStore, key: str, progress: Progress, cancelled: Callable[[], bool]) -> None:
    """Execute a result's ONNX file in OpenVINO on the samples that it was scored on, and convert it.

    Raises:
        InputError: if there is no such result, or OpenVINO is not installed.
        CancelledError: if `cancelled` became true.
    """
    own = _subject(store, key)
    split = own.task.scoring_split(own.recipe.n_samples)
    with OpenVino() as runtime, tempfile.TemporaryDirectory() as scratch:
        measured = evaluate_onnx(
            own.graph, own.task.scoring_batches(split), split.targets.numpy(), task=own.task.info.task,
            progress=lambda fraction, message: progress(0.7 * fraction, f"{message} in OpenVINO"), cancelled=cancelled,
            session=runtime.session(own.graph, own.recipe.runtime.threads, Path(scratch)),
        )
        progress(0.75, "converting")
        size = runtime.convert(own.graph, own.folder / RUNTIMES["openvino"].file_name)
    store.put_part(key, _SCORED, {
        "accuracy": measured.accuracy, "accuracy_low": measured.low, "accuracy_high": measured.high,
        "n_samples": measured.n, "bits_per_character": measured.loss_bits, "file_size_bytes": size,
        "quality": own.task.problem.quality.key,
        **_agreement(own.folder, measured.predictions),
    })


def _agreement(folder: Path, predictions: np.ndarray) -> dict[str, float | None]:
    """Share of classes that ONNX Runtime predicted too, or largest distance of a value; None where some are missing."""
    with np.load(folder / "predictions.npz", allow_pickle=False) as stored:
        theirs = stored["predictions"]
    if theirs.shape != predictions.shape:
        return {"agreement": None}
    if predictions.dtype.kind == "f":
        return {"largest_difference": float(np.abs(theirs - predictions).max())}
    return {"agreement": float((theirs == predictions).mean())}


def _equal_share(problem: Problem, found: np.ndarray, wanted: np.ndarray) -> float | None:
    """Share of equal predictions; None of values, which are never quite equal."""
    if not problem.discrete:
        return None
    ours, theirs = (problem.flat(torch.from_numpy(outputs)) for outputs in (found, wanted))
    return problem.agreement(ours, theirs)


def time_in_openvino(store: ResultStore, key: str, progress: Progress, cancelled: Callable[[], bool]) -> RuntimeRecord:
    """Time a result's ONNX file in OpenVINO, interleaved with the uncompressed model's in the same runtime.

    Raises:
        InputError: if there is no such result, it has not been scored there, or OpenVINO is not installed.
        CancelledError: if `cancelled` became true.
    """
    own = _subject(store, key)
    scored = store.get_part(key, _SCORED)
    if scored is None:
        raise InputError("result", key, "it has to be scored in OpenVINO first")
    baseline = store.artifact_dir(build(own.recipe.baseline(), store, cancelled=cancelled)) / GRAPH_NAME
    threads = own.recipe.runtime.threads
    graph = baseline if key == key_of(own.recipe.baseline()) else own.graph
    with OpenVino() as runtime:
        progress(0.8, "timing in OpenVINO")
        example = own.task.example_input(own.recipe.runtime.batch_size).numpy()
        timed = runtime.timer.time_pair(graph, baseline, example, threads=threads, cancelled=cancelled)
        timed = timed.of_baseline() if graph == baseline else timed
        record = RuntimeRecord(
            runtime="openvino", version=runtime.version, machine=machine_key(), created=now(), **scored,
            latency_ms_p50=timed.p50_ms, latency_ms_p95=timed.p95_ms, latency_low=timed.low_ms,
            latency_high=timed.high_ms, baseline_ms_p50=timed.baseline_p50_ms, baseline_low=timed.baseline_low_ms,
            baseline_high=timed.baseline_high_ms, speedup=timed.speedup, speedup_low=timed.speedup_low,
            speedup_high=timed.speedup_high,
        )
    store.put_part(key, part_of("openvino"), asdict(record))
    return record


def export_program(store: ResultStore, key: str, progress: Progress, cancelled: Callable[[], bool]) -> RuntimeRecord:
    """Write a result as a PyTorch program from its packed weights, and compare what it computes with the ONNX file.

    The program has float32 weights and, where the ONNX file quantizes activations, float32 activations.

    Raises:
        InputError: if there is no such result.
        CancelledError: if `cancelled` became true.
        RuntimeError: if the program does not compute what the artifact does.
    """
    own = _subject(store, key)
    progress(0.1, "reading the packed weights")
    model = unpacked_model(own.recipe, own.task, own.folder / PACKED_NAME)
    progress(0.3, "exporting the program")
    path = own.folder / RUNTIMES["torch"].file_name
    size = write_program(model, own.task.example_input(), path)
    if cancelled():
        raise CancelledError("cancelled")
    progress(0.6, "executing it in a fresh process")
    split = own.task.scoring_split(min(_COMPARED, own.recipe.n_samples or _COMPARED))
    inputs = list(own.task.scoring_batches(split))
    found = run_program(path, np.concatenate(inputs))
    session = open_session(own.graph, own.recipe.runtime.threads)
    wanted = np.concatenate([session.run(["output"], {"input": batch})[0] for batch in inputs])
    difference = float(np.abs(found - wanted).max())
    in_float = state_of(model).activations is None and state_of(model).compute_dtype is None
    if in_float and difference > _CLOSE * max(1.0, float(np.abs(wanted).max())):
        path.unlink()
        raise RuntimeError(f"the program's outputs differ from the artifact's by up to {difference:.3g}")
    record = RuntimeRecord(
        runtime="torch", version=torch.__version__.split("+")[0], machine=machine_key(), created=now(),
        file_size_bytes=size, n_samples=split.targets.numel(), largest_difference=difference,
        agreement=_equal_share(own.task.problem, found, wanted), float_activations=not in_float,
    )
    store.put_part(key, part_of("torch"), asdict(record))
    return record


def unpacked_model(recipe: Recipe, task: Task, path: Path) -> nn.Module:
    """The compressed network of a recipe with the weights of its packed file, in eval mode.

    Raises:
        InputError: if the file is damaged or is another network's.
    """
    packed = unpack_model(path)
    model = task.load_model()
    for step in recipe.steps:
        student = getattr(step.config, "student", None)
        if student in students_of(task.info.name):
            model = students_of(task.info.name)[student]()
    rebuild(model, packed.tensors, packed.shared)
    load_packed(model, packed)
    return model.eval()


def measure_in(
    store: ResultStore, key: str, runtime: str, progress: Progress, cancelled: Callable[[], bool] = bool
) -> RuntimeRecord:
    """Everything for one further runtime, in this process.

    Raises:
        InputError: if the runtime is unknown or not installed, or there is no such result.
    """
    runtime_info(runtime)
    if runtime == "openvino":
        require_openvino()
        score_in_openvino(store, key, progress, cancelled)
        return time_in_openvino(store, key, progress, cancelled)
    return export_program(store, key, progress, cancelled)
