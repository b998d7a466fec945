"""From a recipe to the artifact on disk: compress, pack, unpack, compile."""

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compression.artifact.graph import GraphReport, calibrate_activations, compile_graph
from compression.artifact.packing import PackReport, load_packed, pack_model, unpack_model
from compression.calibration.reference import based_on
from compression.context import CompressionContext, StepReport
from compression.core.errors import InputError, NotApplicableError
from compression.experiments.prefixes import Compressed, longest_known, remember
from compression.experiments.results import LayerRecord, TrainingRecord
from compression.experiments.tasks import Task
from compression.experiments.wording import percent
from compression.layers import unmatched, weight_layers
from compression.metrics.macs import count_macs, count_parameters
from compression.other_weights import free_parameters, other_modules
from compression.recipe import Recipe, Step
from compression.state import spread_to_tied, state_of
from compression.structure.constant_channels import constant_channels_note
from compression.techniques import get_technique
from models.preparing import preparation_notes

Progress = Callable[[float, str], None]
Evaluated = Callable[[TrainingRecord], None]
GRAPH_NAME = "model.onnx"
PACKED_NAME = "weights.packed"
_NAMED_SHARE = 0.01


@dataclass
class ArtifactRecord:
    """What is known of an artifact before it is executed. Plain data.

    Attributes:
        size_bytes: The packed file.
        runtime_size_bytes: The ONNX file.
        structure_key: Equal for graphs of equal structure, shapes and types.
        macs: Of one inference.
        parameters: Number of parameters.
        nonzero_parameters: Those that are not zero.
        layers: Per weight layer.
        other_bytes: Packed bytes of what is no layer, by the name of a matrix or the class of a module.
        notes: What the steps, the packer and the compiler have to say.
        unchanged: Whether the recipe has steps and yet changed nothing.
        seconds: Wall time by stage.
        trainings: One record per step that trained.
    """

    size_bytes: int
    runtime_size_bytes: int
    structure_key: str
    macs: int
    parameters: int
    nonzero_parameters: int
    layers: list[dict[str, Any]]
    notes: list[str]
    unchanged: bool
    seconds: dict[str, float] = field(default_factory=dict)
    trainings: list[TrainingRecord] = field(default_factory=list)
    other_bytes: dict[str, int] = field(default_factory=dict)


def unrecorded(training: TrainingRecord) -> None:
    """What is done with a training's curve where nobody looks at it."""
    del training


def compress(
    model: nn.Module, steps: tuple[Step, ...], context: CompressionContext, evaluated: Evaluated = unrecorded
) -> Compressed:
    """Apply steps in order to a model (in place) and collect what they report.

    Where the first of them trained and their outcome is still kept, the others go on from a copy of it.

    Args:
        model: A copy of the uncompressed model.
        steps: What to do.
        context: Data and callbacks.
        evaluated: Called with the curve so far after each evaluation of a training.

    Raises:
        InputError: if a technique cannot act on this model.
    """
    start, first, done = context, 0, Compressed(model)
    known = longest_known(context, steps)
    if known is not None:
        first, done, context = known
    notes = done.notes
    for number, step in enumerate(steps[first:], first):
        context.check_cancelled()
        technique = get_technique(step.technique)
        context.progress(0.5 * number / len(steps), technique.title)
        report = StepReport()
        for pattern in unmatched(model, (*step.include, *step.exclude, *step.overrides)):
            report.notes.append(f"{pattern!r} matches no layer")
        own = replace(
            context, report=report, include=step.include, exclude=step.exclude,
            overrides={p: dict(c) for p, c in step.overrides.items()},
            progress=_share_of(context.progress, number, len(steps)),
            evaluated=lambda report, key=step.technique: evaluated(_training(key, report)),
        )
        try:
            done.model = technique.function(done.model, step.config, own)
        except NotApplicableError as error:
            raise InputError("steps", step.technique, f"it cannot act on this model: {error}") from error
        spread_to_tied(done.model)
        if technique.family != "training":
            _report_free_parameters(done.model, report)
        if report.replaced and number + 1 < len(steps):
            context = based_on(context, done.model)
        if report.epochs:
            done.trainings.append(_training(step.technique, report))
        notes += [f"{technique.title}: {note}" for note in report.notes]
        notes += _skipped_notes(technique.title, report, context.original)
        if not report.changed:
            notes.append(f"{technique.title}: changed nothing")
        if report.epochs:
            remember(start, steps[: number + 1], done, context)
    done.model.eval()
    return done


def _share_of(progress: Progress, number: int, steps: int) -> Progress:
    """Progress of one step as that of all; compression is the first half."""
    return lambda fraction, message: progress(0.5 * (number + fraction) / steps, message)


def _training(technique: str, report: StepReport) -> TrainingRecord:
    history = tuple(dict(record) for record in report.history)
    return TrainingRecord(technique, report.epochs, report.epochs_done, report.kept_epoch, history)


def _report_free_parameters(model: nn.Module, report: StepReport) -> None:
    """Name the matrices outside of layers that a step left as they were."""
    changed = set(report.changed)
    for name in free_parameters(model):
        if name not in changed and name not in state_of(model).encodings:
            report.skipped.setdefault(name, "this technique acts on layers only, and it is a parameter outside of them")


def _skipped_notes(title: str, report: StepReport, original: nn.Module) -> list[str]:
    """Which layers were left alone and why, with their share of the uncompressed weights' bytes."""
    by_reason: dict[str, list[str]] = {}
    for fqn, reason in report.skipped.items():
        by_reason.setdefault(reason, []).append(fqn)
    sizes = {name: parameter.numel() for name, parameter in original.named_parameters()}
    total, found = max(1, sum(sizes.values())), []
    for reason, names in by_reason.items():
        size = sum(n for name, n in sizes.items() if any(name == own or name.startswith(f"{own}.") for own in names))
        share = f" ({percent(size / total, 0)} of the uncompressed bytes)" if size / total >= _NAMED_SHARE else ""
        found.append(f"{title}: {_listed(names)} left alone{share}: {reason}")
    return found


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def build_artifact(
    recipe: Recipe, task: Task, folder: Path, cache_dir: Path, progress: Progress, cancelled: Callable[[], bool],
    enough: Callable[[], bool] = bool, evaluated: Evaluated = unrecorded,
) -> ArtifactRecord:
    """Compress a model by a recipe and write its packed weights and its ONNX graph.

    The graph is compiled from weights that were read back from the packed file, so one file cannot differ from
    the other.

    Raises:
        InputError: if a step cannot act on the model.
        CancelledError: if `cancelled` became true.
    """
    seconds: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        seconds[stage] = time.perf_counter() - clock
        clock = time.perf_counter()

    torch.manual_seed(recipe.seed)
    original = task.load_model()
    context = replace(task.context(original, recipe.seed, cache_dir, progress, cancelled), enough=enough)
    model = copy.deepcopy(original)
    lap("load")
    compressed = compress(model, recipe.steps, context, evaluated)
    model, notes = compressed.model, task.notes() + compressed.notes
    lap("compress")
    progress(0.55, "writing")
    packing, graph = _write(model, context, folder, cache_dir)
    notes += preparation_notes(model)
    if not recipe.steps and (constant := constant_channels_note(original)):
        notes.append(constant)
    lap("write")
    unchanged = bool(recipe.steps) and _same(model, original)
    if unchanged:
        notes.append("This recipe changed nothing: the artifact equals the uncompressed model.")
    macs = count_macs(model, context.example_input)
    parameters, nonzero = count_parameters(model)
    lap("count")
    layers = _layer_records(model, packing, graph, macs.by_layer)
    return ArtifactRecord(
        size_bytes=packing.size_bytes,
        runtime_size_bytes=graph.runtime_size_bytes,
        structure_key=graph.structure_key,
        macs=macs.total,
        parameters=parameters,
        nonzero_parameters=nonzero,
        layers=layers,
        other_bytes=_other_bytes(model, packing, layers),
        notes=notes + list(packing.notes) + list(graph.notes),
        unchanged=unchanged,
        seconds=seconds,
        trainings=compressed.trainings,
    )


def _write(
    model: nn.Module, context: CompressionContext, folder: Path, cache_dir: Path
) -> tuple[PackReport, GraphReport]:
    """Pack, read the packed file back, and compile the graph from what was read.

    Activation ranges belong to the packed file too, so they are found before it is written.
    """
    packed_path, graph_path = folder / PACKED_NAME, folder / GRAPH_NAME
    grids = calibrate_activations(model, context.example_input, context.calibration_inputs, cache_dir)
    packing = pack_model(model, packed_path, activation_grids=grids or None)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(float("nan"))
    packed = unpack_model(packed_path)
    load_packed(model, packed)
    graph = compile_graph(
        model, context.example_input, graph_path, activation_grids=packed.activation_grids or None,
        cache_dir=cache_dir, samples=context.calibration_inputs,
    )
    return packing, graph


def _same(model: nn.Module, original: nn.Module) -> bool:
    state = state_of(model)
    if state.activations is not None or state.compute_dtype is not None:
        return False
    ours, theirs = model.state_dict(), original.state_dict()
    return ours.keys() == theirs.keys() and all(
        ours[k].shape == theirs[k].shape and torch.equal(ours[k], theirs[k]) for k in ours
    )


def _layer_records(
    model: nn.Module, packing: PackReport, graph: GraphReport, macs: dict[str, int]
) -> list[dict[str, Any]]:
    records = []
    for fqn, layer in (*weight_layers(model), *other_modules(model)):
        weights = {name: p.detach() for name, p in layer.named_parameters(recurse=False) if p.ndim > 1}
        main = max(weights, key=lambda name: weights[name].numel())
        names = [f"{fqn}.{name}" if fqn else name for name, _ in layer.named_parameters(recurse=False)]
        zeros, count = sum(int((w == 0).sum()) for w in weights.values()), sum(w.numel() for w in weights.values())
        record = LayerRecord(
            fqn=fqn,
            kind=type(layer).__name__,
            shape=tuple(weights[main].shape),
            packed_bytes=sum(packing.bytes_by_tensor.get(name, 0) for name in names),
            macs=macs.get(fqn, 0),
            sparsity=zeros / count if count else 0.0,
            encoding=packing.encoding_by_tensor.get(f"{fqn}.{main}" if fqn else main, "shared"),
            kernel=graph.kernels.get(fqn, "float32"),
            note=graph.reasons.get(fqn, ""),
        )
        records.append(asdict(record))
    return records


def _other_bytes(model: nn.Module, packing: PackReport, layers: list[dict[str, Any]]) -> dict[str, int]:
    """Packed bytes of what is no layer: of matrices by name, of all else by the class of the module that holds it."""
    covered, found = {layer["fqn"] for layer in layers}, dict[str, int]()
    free = set(free_parameters(model))
    for name, size in packing.bytes_by_tensor.items():
        owner = name.rpartition(".")[0]
        if owner not in covered:
            kind = name if name in free else type(model.get_submodule(owner)).__name__
            found[kind] = found.get(kind, 0) + size
    return found
