"""Which values a layer's weights, inputs and outputs have before and after compression.

The weights are those of the packed file. Inputs and outputs come from samples of the calibration split, which is part
of the training split, through the network in float32: what a graph's 8-bit activations round is not in them.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compression.analysis.illustration import multiplied_out
from compression.analysis.other_runtimes import unpacked_model
from compression.calibration.batches import batch_for
from compression.core.errors import CancelledError, InputError
from compression.experiments.artifacts import PACKED_NAME, Progress
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.layers import weight_layers
from compression.recipe import recipe_from_dict
from compression.structure.factorized import Factorized

_BINS = 60
_BATCH = 16
WEIGHTS, INPUTS, OUTPUTS = "weights", "inputs", "outputs"
PLACES = (WEIGHTS, INPUTS, OUTPUTS)


@dataclass(frozen=True)
class Values:
    """Figures of the values at one place.

    Attributes:
        count: How many.
        sparsity: Fraction that is zero.
        distinct: How many different ones; None for inputs and outputs.
        low: Smallest.
        high: Largest.
        mean: Their mean.
        std: Their standard deviation.
        counts: How many lie in each bin of the histogram.
    """

    count: int
    sparsity: float
    distinct: int | None
    low: float
    high: float
    mean: float
    std: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Distribution:
    """Values at one place of one layer.

    Attributes:
        edges: Edges of the bins, the same before and after.
        before: Of the uncompressed network.
        after: Of the compressed one; None where the layer is gone.
    """

    edges: tuple[float, ...]
    before: Values
    after: Values | None


@dataclass(frozen=True)
class LayerDistributions:
    """One layer of a result.

    Attributes:
        fqn: The layer.
        n_samples: Training samples that inputs and outputs come from.
        places: `Distribution` of "weights", "inputs" and "outputs"; those that nothing passed through are left out.
    """

    fqn: str
    n_samples: int
    places: dict[str, Distribution]


@lru_cache(maxsize=1)
def _own_code() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def distribution_key(store: ResultStore, key: str) -> str:
    """Key of a result's distributions in the store, and of the job that makes them; another if its file is another.

    Raises:
        InputError: if the result's packed file is not there.
    """
    path = store.artifact_dir(key) / PACKED_NAME
    if not path.is_file():
        raise InputError("result", key, "its files are no longer there: measure its recipe again")
    stat = path.stat()
    parts = ("distributions", key, str(stat.st_size), str(stat.st_mtime_ns), _own_code())
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:20]


def read_distributions(store: ResultStore, key: str, fqn: str) -> LayerDistributions | None:
    """What is stored of one layer of a result, or None. Raises what `distribution_key` does."""
    part = store.get_part(distribution_key(store, key), fqn)
    return None if part is None else distributions_from_dict(part)


def distributions_from_dict(data: dict[str, Any]) -> LayerDistributions:
    """Inverse of `asdict` (also after a trip through JSON)."""
    places = {name: _distribution(own) for name, own in data["places"].items()}
    return LayerDistributions(str(data["fqn"]), int(data["n_samples"]), places)


def _distribution(data: dict[str, Any]) -> Distribution:
    before, after = (
        None if own is None else Values(**{**own, "counts": tuple(own["counts"])})
        for own in (data["before"], data["after"])
    )
    assert before is not None
    return Distribution(tuple(data["edges"]), before, after)


def distribute(
    store: ResultStore, key: str, progress: Progress, cancelled: Callable[[], bool] = bool
) -> list[LayerDistributions]:
    """Look at every layer of a result and of its original, and keep what is found layer by layer.

    Raises:
        InputError: if there is no such result, or its files are gone.
        CancelledError: if `cancelled` became true.
    """
    result, own_key = store.get_result(key), distribution_key(store, key)
    if result is None:
        raise InputError("result", key, "the key of a stored result is needed")
    recipe = recipe_from_dict(result.recipe)
    task = load_task(recipe)
    progress(0.05, "reading both networks")
    models = (task.load_model(), unpacked_model(recipe, task, store.artifact_dir(key) / PACKED_NAME))
    wanted = batch_for(task.info.input_shape, task.problem.sizes.distribution)  # fewer of large images
    inputs = task.prepare(task.calibration_split.subset(wanted, seed=0).inputs[:])
    layers = [fqn for fqn, _ in weight_layers(models[0])]
    seen = _look_at(models, layers, inputs, progress, cancelled)
    found = []
    for fqn in layers:
        places = {place: own for place in PLACES if (own := _paired(*(s.get((fqn, place)) for s in seen))) is not None}
        found.append(LayerDistributions(fqn, len(inputs), places))
        store.put_part(own_key, fqn, asdict(found[-1]))
    return found


@dataclass
class _Seen:
    """Values as they come in: first their range and moments, then their histogram."""

    count: int = 0
    zeros: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")
    distinct: int | None = None
    edges: tuple[float, float] = (0.0, 1.0)
    counts: Tensor = field(default_factory=lambda: torch.zeros(_BINS, dtype=torch.float64))

    def measure(self, values: Tensor) -> None:
        own = values.double()
        self.count += own.numel()
        self.zeros += int((own == 0).sum())
        self.total += float(own.sum())
        self.squares += float(own.square().sum())
        if own.numel():
            self.low, self.high = min(self.low, float(own.min())), max(self.high, float(own.max()))

    def sort(self, values: Tensor) -> None:
        self.counts += torch.histc(values.detach().flatten().float(), _BINS, *self.edges)

    def values(self) -> Values:
        mean = self.total / self.count
        spread = max(0.0, self.squares / self.count - mean**2) ** 0.5
        counts = tuple(int(n) for n in self.counts.tolist())
        return Values(self.count, self.zeros / self.count, self.distinct, self.low, self.high, mean, spread, counts)


_Table = dict[tuple[str, str], _Seen]


def _look_at(
    models: Sequence[nn.Module], layers: Sequence[str], inputs: Tensor, progress: Progress,
    cancelled: Callable[[], bool],
) -> list[_Table]:
    """Run both networks twice: ranges first, so that both are sorted into the same bins."""
    seen: list[_Table] = [{}, {}]
    batches = inputs.split(batch_for(inputs.shape[1:], _BATCH))
    done, total = 0, 4 * len(batches)
    for sorting in (False, True):
        if sorting:
            _share_edges(*seen)
        for table, model in zip(seen, models, strict=True):
            _take_weights(table, model, layers, sorting)
            with _Hooks(table, model, layers, sorting):
                for batch in batches:
                    if cancelled():
                        raise CancelledError("cancelled")
                    progress(0.1 + 0.85 * done / total, "running training samples")
                    with torch.inference_mode():
                        model(batch)
                    done += 1
    return seen


def _take(table: _Table, place: tuple[str, str], values: Tensor, sorting: bool) -> None:
    own = table.setdefault(place, _Seen())
    (own.sort if sorting else own.measure)(values)


def _take_weights(table: _Table, model: nn.Module, layers: Sequence[str], sorting: bool) -> None:
    for fqn in layers:
        layer = _module(model, fqn)
        if layer is None:
            continue
        weight = multiplied_out(layer) if isinstance(layer, Factorized) else layer.weight.detach()  # type: ignore[union-attr]
        _take(table, (fqn, WEIGHTS), weight, sorting)  # type: ignore[arg-type]
        if not sorting:
            table[fqn, WEIGHTS].distinct = weight.unique().numel()  # type: ignore[operator]


def _module(model: nn.Module, fqn: str) -> nn.Module | None:
    try:
        return model.get_submodule(fqn)
    except AttributeError:
        return None


class _Hooks:
    """Takes the inputs and outputs of layers while a network runs."""

    def __init__(self, table: _Table, model: nn.Module, layers: Sequence[str], sorting: bool) -> None:
        self._handles = []
        for fqn in layers:
            if (layer := _module(model, fqn)) is not None:

                def hook(module: nn.Module, inputs: Any, output: Tensor, fqn: str = fqn) -> None:
                    del module
                    _take(table, (fqn, INPUTS), inputs[0], sorting)
                    _take(table, (fqn, OUTPUTS), output, sorting)

                self._handles.append(layer.register_forward_hook(hook))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()


def _share_edges(before: _Table, after: _Table) -> None:
    for place, own in before.items():
        both = [own, *([after[place]] if place in after else [])]
        low, high = min(s.low for s in both), max(s.high for s in both)
        if not high > low:
            low, high = low - 0.5, high + 0.5
        for side in both:
            side.edges = (low, high)


def _paired(before: _Seen | None, after: _Seen | None) -> Distribution | None:
    if before is None or not before.count:
        return None
    edges = torch.linspace(*before.edges, _BINS + 1, dtype=torch.float64).tolist()
    return Distribution(tuple(edges), before.values(), after.values() if after is not None and after.count else None)
