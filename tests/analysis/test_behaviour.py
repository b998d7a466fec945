"""What artifacts do differently: flips, confusions, single samples, and the statistics of their weights."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from compression.analysis import differences, weight_statistics
from compression.analysis.behaviour import Behaviour, Flips, flipped, flips, read_behaviour
from compression.analysis.samples import class_names, sample_at
from compression.analysis.weight_statistics import BINS, layer_weights
from compression.core.errors import CancelledError, InputError
from compression.experiments import stages
from compression.experiments.results import ExperimentResult
from compression.experiments.store import ResultStore
from compression.recipe import recipe_from_dict
from models.datasets import load_dataset

TARGETS = np.array([0, 0, 1, 1, 2])
NAMES = ("cat", "dog", "cow")


def behaviour(predictions: list[int], truths: list[float] | None = None) -> Behaviour:
    sure = None if truths is None else np.array(truths, dtype=np.float16)
    return Behaviour(np.array(predictions), TARGETS, NAMES, sure, sure)


def quiet(fraction: float, message: str) -> None:
    del fraction, message


def test_flips_come_sorted_by_the_probability_that_the_truth_lost() -> None:
    before = behaviour([0, 0, 1, 0, 1], [0.6, 0.9, 0.8, 0.2, 0.3])
    after = behaviour([1, 2, 1, 1, 0], [0.5, 0.1, 0.8, 0.7, 0.1])
    lost, won, other = flipped(before, after)
    assert [own.tolist() for own in (lost, won, other)] == [[1, 0], [3], [4]]
    assert flips(before, after) == Flips(lost=2, won=1, other=1, total=5, kept=1)
    unsorted, _, _ = flipped(behaviour([0, 0, 1, 0, 1]), after)
    assert unsorted.tolist() == [0, 1]


def test_the_change_of_accuracy_has_an_interval_that_says_a_tie() -> None:
    worse = Flips(lost=30, won=5, other=2, total=1000, kept=900).change()
    assert worse.value == pytest.approx(-0.025) and worse.n_samples == 1000
    wald = 1.96 * np.sqrt((0.035 - 0.025**2) / 1000)
    assert (worse.low, worse.high) == pytest.approx((-0.025 - wald, -0.025 + wald), abs=3e-3)
    assert worse.high < 0 and not worse.tied
    assert Flips(lost=12, won=10, other=0, total=1000, kept=900).change().tied
    same = Flips(lost=0, won=0, other=0, total=10, kept=9).change()
    assert same.value == 0.0 and same.low < 0.0 < same.high, "ten equal predictions do not make two equal models"


def test_confusions_are_subtracted_and_of_many_classes_the_most_changed_are_kept() -> None:
    before, after = behaviour([0, 0, 1, 1, 2]), behaviour([0, 1, 1, 1, 2])
    names, change = differences.confusion_change(before, after)
    assert names == NAMES
    assert change == ((-1, 1, 0), (0, 0, 0), (0, 0, 0))
    assert differences.confusion_change(before, after, most=2)[0] == ("cat", "dog")
    changes = differences.class_changes(before, after)
    assert changes[0] == differences.ClassChange("cat", 2, 1.0, 0.5)


def test_a_position_of_a_text_stands_in_its_surroundings() -> None:
    data = load_dataset("python_source")
    place = 2 * 128 + 70
    sample = sample_at(data.info, data.test, place)
    wanted = int(data.test.targets[2, 70])
    assert class_names(data.info)[wanted].replace("new line", "\n").replace("space", " ") == sample.at
    assert len(sample.before) == 60
    assert len(sample.after) == 24


def test_a_layer_is_counted_on_the_axis_of_the_uncompressed_one() -> None:
    before = torch.tensor([[-1.0, 0.5], [0.25, 1.0]])
    pruned = layer_weights("fc", before, [torch.tensor([[0.0, 0.0], [0.0, 2.0]])])
    assert pruned.reach == 1.0
    assert (sum(pruned.before), sum(pruned.after)) == (4, 4)
    assert pruned.after[BINS // 2] == 3
    assert pruned.after[-1] == 1  # beyond the axis
    assert (pruned.zeros, pruned.distinct) == (0.75, 2)
    assert layer_weights("fc", before, []).weights == 0
    assert layer_weights("fc", before, [before, before]).factors == 2


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[ResultStore, list[ExperimentResult]]:
    store = ResultStore(tmp_path_factory.mktemp("store"))
    base = {"model": "digits_resnet", "dataset": "digits", "n_samples": 100}
    steps = [[], [{"technique": "weight_pruning", "sparsity": 0.95}]]
    recipes = [recipe_from_dict({**base, "steps": own}) for own in steps]
    for recipe in recipes:  # all but their timing
        stages.build(recipe, store)
        stages.score(recipe, store, "full")
    return store, [stages.conclude(recipe, store) for recipe in recipes]


def test_two_results_are_compared_sample_by_sample(measured: tuple[ResultStore, list[ExperimentResult]]) -> None:
    store, (base, pruned) = measured
    found = differences.find_difference(store, base.key, pruned.key, quiet)
    counted = found.flips
    assert counted.total == 100
    assert (counted.won - counted.lost) / 100 == pytest.approx(pruned.figures.accuracy - base.figures.accuracy)
    assert len(found.examples) == counted.lost + counted.won + counted.other > 0
    assert found.sorted
    first = found.examples[0]
    assert first.sample.image.startswith("data:image/png;base64,")
    assert first.truth == first.before != first.after
    lost = [own.lost for own in found.examples if own.kind == "lost"]
    assert lost == sorted(lost, reverse=True)
    assert differences.read_difference(store, base.key, pruned.key) == found
    assert differences.difference_from_dict(asdict(found)) == found


def test_artifacts_without_probabilities_are_compared_unsorted(
    measured: tuple[ResultStore, list[ExperimentResult]],
) -> None:
    store, (base, pruned) = measured
    path = store.artifact_dir(pruned.key) / "predictions.npz"
    kept = path.read_bytes()
    with np.load(path) as stored:
        predictions = stored["predictions"]
    try:
        np.savez_compressed(path, predictions=predictions)
        found = differences.find_difference(store, base.key, pruned.key, quiet)
        assert not found.sorted
        assert {own.lost for own in found.examples} == {None}
        path.write_bytes(b"no archive")
        assert read_behaviour(store, pruned) is None
        with pytest.raises(InputError, match="predictions on all its samples"):
            differences.find_difference(store, base.key, pruned.key, quiet)
    finally:
        path.write_bytes(kept)


def test_weights_are_counted_from_the_packed_file(measured: tuple[ResultStore, list[ExperimentResult]]) -> None:
    store, (_, pruned) = measured
    found = weight_statistics.find_statistics(store, pruned.key, quiet)
    by_layer = {own.fqn: own for own in found}
    assert list(by_layer) == [own.fqn for own in pruned.layers]
    for record in pruned.layers:
        assert by_layer[record.fqn].zeros == pytest.approx(record.sparsity, abs=1e-6)
        assert sum(by_layer[record.fqn].after) == by_layer[record.fqn].weights
    assert weight_statistics.read_statistics(store, pruned.key) == found
    with pytest.raises(InputError, match="packed file"):
        weight_statistics.find_statistics(store, "unknown", quiet)
    with pytest.raises(CancelledError):
        weight_statistics.find_statistics(store, pruned.key, quiet, lambda: True)
