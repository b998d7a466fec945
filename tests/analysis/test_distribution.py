"""Values in the layers of a real artifact: weights of the packed file, inputs and outputs of training samples."""

from pathlib import Path

import pytest
import torch

from compression.analysis.distribution import LayerDistributions, distribute, distribution_key, read_distributions
from compression.artifact.packing import unpack_model
from compression.core.errors import CancelledError, InputError
from compression.experiments.artifacts import PACKED_NAME
from compression.experiments.stages import build, conclude, score
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.layers import weight_layers
from compression.recipe import Recipe, recipe_from_dict
from models.registry import load_model

MODEL = {"model": "digits_mobilenet", "dataset": "digits"}
STEPS = (
    {"technique": "weight_pruning", "sparsity": 0.6, "scope": "layer", "criterion": "magnitude"},
    {"technique": "quantization", "weight_bits": 4, "rounding": "nearest"},
)


def quiet(fraction: float, message: str) -> None:
    del fraction, message


def measured(store: ResultStore, *steps: object) -> str:
    recipe: Recipe = recipe_from_dict({**MODEL, "n_samples": 20, "steps": list(steps)})
    for own in (recipe.baseline(), recipe):
        key = build(own, store)
        score(own, store, "quick")
    conclude(recipe, store)
    return key


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ResultStore:
    return ResultStore(tmp_path_factory.mktemp("distributions"))


@pytest.fixture(scope="module")
def pruned(store: ResultStore) -> tuple[str, list[LayerDistributions]]:
    key = measured(store, *STEPS)
    return key, distribute(store, key, quiet)


def test_weights_are_the_originals_and_the_packed_files(
    store: ResultStore, pruned: tuple[str, list[LayerDistributions]]
) -> None:
    key, found = pruned
    packed = unpack_model(store.artifact_dir(key) / PACKED_NAME).tensors
    original = dict(weight_layers(load_model("digits_mobilenet")))
    assert [own.fqn for own in found] == list(original)
    for own in found:
        weights, before, after = own.places["weights"], original[own.fqn].weight.detach(), packed[f"{own.fqn}.weight"]
        assert weights.after is not None
        assert weights.before.mean == pytest.approx(float(before.mean()), abs=1e-6)
        assert weights.after.sparsity == pytest.approx(float((after == 0).float().mean()))
        assert weights.after.distinct == after.unique().numel()
        assert sum(weights.before.counts) == sum(weights.after.counts) == before.numel()
        assert weights.edges[0] == pytest.approx(float(min(before.min(), after.min())))
    assert found[2].places["weights"].after.sparsity > 0.5  # type: ignore[union-attr]


def test_inputs_and_outputs_are_those_of_training_samples(pruned: tuple[str, list[LayerDistributions]]) -> None:
    task = load_task(recipe_from_dict(MODEL))
    images = task.prepare(task.calibration_split.subset(64, seed=0).inputs[:])
    first = pruned[1][0]
    assert first.n_samples == 64
    inputs, outputs = first.places["inputs"], first.places["outputs"]
    assert inputs.before == inputs.after  # nothing comes before the first layer
    assert inputs.before.count == images.numel() and inputs.before.std == pytest.approx(float(images.std()), rel=1e-3)
    layer = dict(weight_layers(load_model("digits_mobilenet")))[first.fqn]
    with torch.no_grad():
        assert outputs.before.high == pytest.approx(float(layer(images).max()), rel=1e-4)
    assert outputs.after is not None and outputs.after.std != outputs.before.std


def test_they_are_kept_layer_by_layer(store: ResultStore, pruned: tuple[str, list[LayerDistributions]]) -> None:
    key, found = pruned
    assert read_distributions(store, key, found[3].fqn) == found[3]
    assert read_distributions(store, key, "none") is None
    (store.artifact_dir(key) / PACKED_NAME).touch()  # written anew: what was seen is no longer this file's
    assert read_distributions(store, key, found[3].fqn) is None


def test_split_and_thinner_layers_are_looked_at_as_wholes(store: ResultStore) -> None:
    key = measured(
        store, {"technique": "channel_pruning", "pruning_ratio": 0.4, "criterion": "l1", "reconstruct": False},
        {"technique": "low_rank", "rank_ratio": 0.5, "method": "svd", "allocation": "uniform"},
    )
    weights = {own.fqn: own.places["weights"] for own in distribute(store, key, quiet)}
    counts = {fqn: (own.before.count, own.after.count) for fqn, own in weights.items() if own.after is not None}
    assert len(counts) == len(weights)
    assert any(after < before for before, after in counts.values())
    split = {name.removesuffix(".1.weight") for name in unpack_model(store.artifact_dir(key) / PACKED_NAME).tensors}
    assert any(fqn in split for fqn in weights)


def test_missing_results_and_cancelling(tmp_path: Path, store: ResultStore) -> None:
    with pytest.raises(InputError, match="no longer there"):
        distribution_key(ResultStore(tmp_path), "gone")
    key = measured(store, *STEPS)
    with pytest.raises(CancelledError):
        distribute(store, key, quiet, lambda: True)
