"""The weights of an artifact, layer by layer, beside those of the uncompressed model: histograms and zeros."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from compression.artifact.packing import model_tensors, unpack_model
from compression.core.errors import CancelledError, InputError
from compression.experiments.artifacts import PACKED_NAME, Progress
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.recipe import recipe_from_dict

BINS = 61
_PART = "weight_statistics"


@dataclass(frozen=True)
class LayerWeights:
    """The weights of one layer before and after.

    Attributes:
        fqn: Name of the layer.
        reach: The histograms go from -reach to reach: the largest weight of the uncompressed layer. What lies
            further out is counted in the outermost bins.
        before: Weights per bin of the uncompressed layer; all zero where it has none of that name.
        after: The same in the artifact; all zero where the layer is gone.
        weights: How many there are in the artifact.
        zeros: Share of them that is zero.
        distinct: How many different values they have.
        factors: Of how many factors the layer consists in the artifact; their values are counted together.
    """

    fqn: str
    reach: float
    before: tuple[int, ...]
    after: tuple[int, ...]
    weights: int
    zeros: float
    distinct: int
    factors: int = 1


def layer_weights(fqn: str, before: Tensor | None, after: list[Tensor]) -> LayerWeights:
    """Histograms of one layer.

    Args:
        fqn: Its name.
        before: Its weight in the uncompressed model, of any shape; None where there is no such layer.
        after: Its weights in the artifact: one, one per factor, or none where it is gone.
    """
    left = torch.cat([own.detach().float().flatten() for own in after]) if after else torch.empty(0)
    base = before.detach().float().flatten() if before is not None else torch.empty(0)
    largest = base if base.numel() else left
    reach = float(largest.abs().max()) if largest.numel() else 0.0
    reach = reach or 1.0
    return LayerWeights(
        fqn, reach, _histogram(base, reach), _histogram(left, reach), left.numel(),
        float((left == 0).double().mean()) if left.numel() else 0.0, int(left.unique().numel()), max(1, len(after)),
    )


def _histogram(values: Tensor, reach: float) -> tuple[int, ...]:
    counts = torch.histc(values.clamp(-reach, reach), BINS, -reach, reach) if values.numel() else torch.zeros(BINS)
    return tuple(int(count) for count in counts)


def statistics_key(result: str) -> str:
    """Key of a result's statistics in the store, and of the job that makes them."""
    return hashlib.sha256("|".join((_PART, "1", result)).encode()).hexdigest()[:20]


def read_statistics(store: ResultStore, result: str) -> tuple[LayerWeights, ...] | None:
    """The stored statistics of a result, in the order of its layers, or None."""
    part = store.get_part(statistics_key(result), _PART)
    return None if part is None else tuple(_layer_from_dict(own) for own in part["layers"])


def _layer_from_dict(data: dict[str, Any]) -> LayerWeights:
    return LayerWeights(**{**data, "before": tuple(data["before"]), "after": tuple(data["after"])})


def find_statistics(
    store: ResultStore, key: str, progress: Progress, cancelled: Callable[[], bool] = bool
) -> tuple[LayerWeights, ...]:
    """Read a result's packed weights and keep their statistics.

    Raises:
        InputError: if there is no such result or its packed file is gone.
        CancelledError: if `cancelled` became true.
    """
    result, path = store.get_result(key), store.artifact_dir(key) / PACKED_NAME
    if result is None or not path.is_file():
        raise InputError("result", key, "the key of a stored result with its packed file is needed")
    progress(0.1, "reading the weights")
    original = load_task(recipe_from_dict(result.recipe)).load_model()
    before = _matrices(model_tensors(original))
    found, sides = [], list(_sides(before, _matrices(unpack_model(path).tensors)).items())
    for number, (fqn, after) in enumerate(sides):
        if cancelled():
            raise CancelledError("cancelled")
        progress(0.2 + 0.8 * number / len(sides), "counting weights")
        found.append(layer_weights(fqn, before.get(fqn), after))
    store.put_part(statistics_key(key), _PART, {"layers": [asdict(own) for own in found]})
    return tuple(found)


def _matrices(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of layers by fqn; norms and biases, which are vectors, are left out."""
    ends = ".weight"
    return {name.removesuffix(ends): own for name, own in tensors.items() if name.endswith(ends) and own.ndim > 1}


def _sides(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """The artifact's weights per layer of the original; then layers that the original has not."""
    left = dict(after)
    sides: dict[str, list[Tensor]] = {}
    for fqn in before:
        parts = [fqn] if fqn in left else [own for own in left if _is_factor(own, fqn)]
        sides[fqn] = [left.pop(own) for own in parts]
    return {**sides, **{fqn: [weight] for fqn, weight in left.items()}}


def _is_factor(name: str, fqn: str) -> bool:
    return name.startswith(f"{fqn}.") and name[len(fqn) + 1 :].isdigit()
