"""What a technique does to one real layer of a model: its weights before and after, small enough for a picture."""

import copy
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from compression.context import CompressionContext, StepReport
from compression.core.errors import InputError, NotApplicableError
from compression.experiments.artifacts import Progress
from compression.experiments.code_version import code_version
from compression.experiments.scoring_data import scoring_data, usual_data
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.experiments.wording import percent
from compression.layers import weight_layers
from compression.recipe import Recipe, Step, step_from_dict, step_to_dict
from compression.state import state_of
from compression.structure.factorized import Factorized
from compression.techniques import Technique, get_technique
from models import registry

ROWS, COLUMNS = 32, 64
_BINS = 61
_PART = "illustration"
_TRIED = 6
_LIKED_WEIGHTS = 20_000
_TRAINING_SECONDS = 20.0


@dataclass(frozen=True)
class Illustration:
    """One layer's weights before and after a technique.

    Attributes:
        model: Name of the model.
        technique: Key of the technique.
        layer: fqn of the layer.
        shape: Its weight's shape before.
        steps: Steps that were applied, in a recipe's form; the last is the technique's.
        before: A corner of the weight as a matrix, output by output, (rows, columns).
        after: The same corner afterwards; None where a weight is gone.
        edges: Edges of the histograms' bins.
        counts_before: How many weights of the whole layer lie in each bin.
        counts_after: The same afterwards.
        says: What became of the layer, in figures.
        notes: Remarks of the step.
    """

    model: str
    technique: str
    layer: str
    shape: tuple[int, ...]
    steps: tuple[dict[str, Any], ...]
    before: tuple[tuple[float, ...], ...]
    after: tuple[tuple[float | None, ...], ...]
    edges: tuple[float, ...]
    counts_before: tuple[int, ...]
    counts_after: tuple[int, ...]
    says: str
    notes: tuple[str, ...] = ()


def illustration_key(model: str, technique: str) -> str:
    """Key of an illustration in the store, and of the job that makes it.

    Raises:
        InputError: if the technique is unknown, or the model is or has no weights here.
    """
    get_technique(technique)
    if not registry.has_weights(model):
        raise InputError("model", model, "a model whose weights are here is needed")
    parts = (_PART, model, technique, registry.model_identity(model), code_version())
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:20]


def read_illustration(store: ResultStore, model: str, technique: str) -> Illustration | None:
    """The stored illustration, or None."""
    part = store.get_part(illustration_key(model, technique), _PART)
    return None if part is None else illustration_from_dict(part)


def illustration_from_dict(data: dict[str, Any]) -> Illustration:
    """Inverse of `asdict` (also after a trip through JSON)."""
    lists = {name: tuple(value) for name, value in data.items() if isinstance(value, list | tuple)}
    matrices = {name: tuple(tuple(row) for row in data[name]) for name in ("before", "after")}
    return Illustration(**{**data, **lists, **matrices})


def illustrate(
    store: ResultStore, model: str, technique: str, progress: Progress, cancelled: Callable[[], bool] = bool
) -> Illustration:
    """Compress one layer of a model, or for techniques that act on all layers at once the model, and keep both sides.

    A training is ended after some seconds.

    Raises:
        InputError: if model or technique are unknown, or the technique cannot act on the model.
        CancelledError: if `cancelled` became true.
    """
    own = get_technique(technique)
    task = load_task(Recipe(model, usual_data(model, scoring_data(model))))
    progress(0.1, "reading the model")
    original = task.load_model()
    title = own.title.lower()

    def advance(fraction: float, message: str) -> None:
        progress(0.3 + 0.6 * fraction, message)

    context = task.context(original, 0, store.cache_dir(), advance, cancelled)
    until = time.monotonic() + _TRAINING_SECONDS
    context = replace(context, enough=lambda: time.monotonic() > until)
    *ready, last = [step_from_dict(step) for step in own.example or ({"technique": technique},)]
    torch.manual_seed(0)
    start = task.load_model()
    for step in ready:
        start = get_technique(step.technique).function(start, step.config, replace(context, report=StepReport()))
    progress(0.3, title)
    try:
        layer, changed, notes = _changed_layer(start, own, last, context)
    except NotApplicableError as error:
        raise InputError("model", model, f"one that {title} can act on is needed: {error}") from None
    progress(0.9, "drawing")
    steps = tuple(step_to_dict(step) for step in (*ready, last))
    before, after = _matrix(start, layer), _matrix(changed, layer)
    assert before is not None and after is not None
    shape = tuple(start.get_submodule(layer).weight.shape)  # type: ignore[union-attr]
    said = _in_figures(before, after, changed.get_submodule(layer))
    found = Illustration(
        model, technique, layer, shape, steps, _corner(before), _corner(after), *_histograms(before, after),  # type: ignore[arg-type]
        said, notes,
    )
    store.put_part(illustration_key(model, technique), _PART, asdict(found))
    return found


def _changed_layer(
    start: nn.Module, technique: Technique, step: Step, context: CompressionContext
) -> tuple[str, nn.Module, tuple[str, ...]]:
    """A layer that the step changes, the model in which it did, and the step's notes.

    Raises:
        NotApplicableError: if there is none.
    """
    layers = _candidates(start, context.protected)
    limits: list[tuple[str, ...]] = [(fqn,) for fqn in layers[:_TRIED]]
    trains = "training" in technique.needs
    reason = "a short training did not help it" if trains else "no layer was changed"
    for include in [*limits, ()]:
        context.check_cancelled()
        report = StepReport()
        own = replace(context, include=include, report=report)
        try:
            changed = technique.function(copy.deepcopy(start), step.config, own).eval()
        except NotApplicableError as error:
            reason = str(error)
            continue
        for fqn in include or layers:
            if _differs(_matrix(start, fqn), _matrix(changed, fqn)):
                return fqn, changed, tuple(report.notes)
        if trains:  # limits mean nothing to it
            break
    raise NotApplicableError(reason)


def _candidates(model: nn.Module, protected: tuple[str, ...]) -> list[str]:
    """Layers that make a good picture first: wide enough, not the first or last, of middling size."""
    sizes = {
        fqn: layer.weight.numel() for fqn, layer in weight_layers(model)
        if fqn not in protected and layer.weight[0].numel() >= COLUMNS // 4
    }
    return sorted(sizes, key=lambda fqn: abs(math.log(sizes[fqn] / _LIKED_WEIGHTS)))


def _matrix(model: nn.Module, fqn: str) -> Tensor | None:
    """A layer's weight as (outputs, inputs), that of a split one multiplied out; removed outputs are NaN."""
    try:
        layer = model.get_submodule(fqn)
    except AttributeError:
        return None
    if isinstance(layer, Factorized):
        return multiplied_out(layer)
    rows = layer.weight.detach().flatten(1)  # type: ignore[union-attr,operator]
    kept = state_of(model).kept.get(fqn)
    if kept is None:
        return rows
    whole = torch.full((int(kept.max()) + 1, rows.shape[1]), torch.nan)
    whole[kept] = rows
    return whole


def multiplied_out(layer: nn.Sequential) -> Tensor:
    """The weight that a split layer stands for, as (outputs, inputs)."""
    first, *rest = [part.weight.detach() for part in layer]  # type: ignore[union-attr]
    if len(rest) == 2:  # Tucker-2: inward (i, in), core (o, i, k, k), outward (out, o)
        core, outward = rest[0], rest[1].flatten(1)
        return torch.einsum("po,oikl,in->pnkl", outward, core, first.flatten(1)).flatten(1)
    return rest[0].flatten(1) @ first.flatten(1)


def _differs(before: Tensor | None, after: Tensor | None) -> bool:
    if before is None or after is None or before.shape[1] != after.shape[1]:
        return False
    return before.shape != after.shape or not torch.equal(before, after)


def _corner(matrix: Tensor) -> tuple[tuple[float | None, ...], ...]:
    rows = matrix[:ROWS, :COLUMNS].tolist()
    return tuple(tuple(None if v != v else float(f"{v:.4g}") for v in row) for row in rows)


def _histograms(before: Tensor, after: Tensor) -> tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...]]:
    left = after[~after.isnan()]
    reach = float(max(before.abs().max(), left.abs().max())) or 1.0
    counts = [torch.histc(t.flatten().float(), _BINS, -reach, reach).int().tolist() for t in (before, left)]
    edges = torch.linspace(-reach, reach, _BINS + 1).tolist()
    return tuple(edges), tuple(counts[0]), tuple(counts[1])


def _in_figures(before: Tensor, after: Tensor, layer: nn.Module) -> str:
    """The change in figures: weights gone, zeros, distinct values, factors."""
    if isinstance(layer, Factorized):
        shapes = " · ".join("x".join(map(str, part.weight.shape)) for part in layer)  # type: ignore[union-attr]
        kept = sum(part.weight.numel() for part in layer)  # type: ignore[union-attr,misc]
        return f"{before.numel():,} weights became {kept:,}, in factors of {shapes}"
    left = after[~after.isnan().all(1)]
    if left.numel() < before.numel():
        return f"{len(before)} outputs became {len(left)}: {left.numel():,} of {before.numel():,} weights are left"
    zeros, values = float((after == 0).double().mean()), after.unique().numel()
    was = f"{before.unique().numel():,} different values became {values:,}"
    moved = float((after - before).norm() / before.norm())
    return f"{was}; {percent(zeros, 0)} are zero; the weights moved by {percent(moved, 0)} of their norm"
