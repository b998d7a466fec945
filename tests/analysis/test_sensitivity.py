"""Sensitivities: what one layer's compression does, measured in parts that can be cancelled and gone on with."""

from pathlib import Path
from typing import Any

import pytest
import torch

from compression.analysis import sensitivity
from compression.analysis.probing import Probed, Prober
from compression.analysis.sensitivity import measure, read_map, sensitivity_key, strengths
from compression.core.errors import CancelledError, InputError, NotApplicableError
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.knobs import knobs_of
from compression.problems.problem import Sizes
from compression.recipe import Recipe
from compression.techniques import get_technique, list_techniques

BY_LAYER = [technique for technique in list_techniques() if technique.by_layer]


@pytest.fixture(scope="module")
def prober(tmp_path_factory: pytest.TempPathFactory) -> Prober:
    return Prober(load_task(Recipe("digits_mobilenet", "digits")), tmp_path_factory.mktemp("cache"))


def probe(prober: Prober, fqn: str, technique: str, value: Any) -> Probed:
    found = get_technique(technique)
    return prober.probe(fqn, found, found.main_knob, value, bool)


def test_fewer_bits_of_one_layer_err_more_and_weigh_less(prober: Prober) -> None:
    last = prober.layers()[-1]
    fine, coarse = probe(prober, last, "quantization", 8), probe(prober, last, "quantization", 2)
    assert 0 <= fine.error < coarse.error
    assert coarse.size_bytes < 0.6 * fine.size_bytes  # the last layer, which a recipe would keep at 8 bits
    assert fine.macs == coarse.macs > 0


def test_the_same_probe_gives_the_same_figures_and_leaves_the_original_alone(prober: Prober) -> None:
    fqn = prober.layers()[1]
    first = probe(prober, fqn, "weight_pruning", 0.9)
    probe(prober, fqn, "binarization", "binary")
    assert probe(prober, fqn, "weight_pruning", 0.9) == first


def test_layers_that_become_thinner_compute_less(prober: Prober) -> None:
    fqn = prober.layers()[-2]
    whole = probe(prober, fqn, "quantization", 8)
    split = probe(prober, fqn, "low_rank", 0.3)
    assert split.macs < 0.5 * whole.macs and split.error > 0


def test_the_samples_are_training_samples_outside_the_calibration() -> None:
    task = load_task(Recipe("digits_resnet", "digits"))
    calibration = task.dataset.train.subset(task.problem.sizes.calibration, 1234).inputs.flatten(1)
    probing = task.probing_split(128).inputs.flatten(1)
    train = task.dataset.train.inputs.flatten(1)
    assert len(probing) == 128
    assert not any((calibration == row).all(1).any() for row in probing)
    assert all((train == row).all(1).any() for row in probing)


def test_small_training_splits_are_probed_on_the_held_out_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task(Recipe("digits_resnet", "digits"))
    monkeypatch.setattr(type(task.problem), "sizes", Sizes(calibration=len(task.dataset.train) - 10))
    probing, held_out = task.probing_split(128), task._training_splits[0]
    assert torch.equal(probing.inputs, held_out.inputs)


@pytest.mark.parametrize("technique", BY_LAYER, ids=lambda technique: technique.key)
def test_strengths_are_a_few_values_of_the_sweep_down_to_the_strongest(technique: Any) -> None:
    sweep, values = knobs_of(technique.config_type)[technique.main_knob].sweep, strengths(technique)
    assert list(values) == [value for value in sweep if value in values]
    assert values[-1] == sweep[-1] and 2 <= len(values) <= 5


def test_bits_that_matter_are_all_measured() -> None:
    assert strengths(get_technique("quantization")) == (8, 6, 4, 3, 2)


def test_whole_model_techniques_have_no_sensitivity() -> None:
    with pytest.raises(InputError, match=r"technique: 'recovery' .* allowed: channel_pruning"):
        sensitivity_key("digits_resnet", "digits", "recovery")


class FakeProber:
    """Two layers, of which one cannot be compressed; counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def layers(self) -> list[str]:
        return ["first", "second"]

    def probe(self, fqn: str, technique: Any, knob: str, value: Any, cancelled: Any) -> Probed:
        self.asked.append((fqn, value))
        if fqn == "second":
            raise NotApplicableError("too small")
        return Probed(error=1.0 / value, accuracy_drop=0.0, size_bytes=10 * value, macs=100)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeProber:
    own = FakeProber()
    monkeypatch.setattr(sensitivity, "prober", lambda model, dataset, cache_dir: own)
    return own


def run(store: ResultStore, cancelled: Any = bool, **parts: int) -> bool:
    return measure(store, "key", "m", "d", "quantization", lambda fraction, message: None, cancelled, **parts)


def test_parts_fill_one_map_and_the_last_one_completes_it(tmp_path: Path, fake: FakeProber) -> None:
    store = ResultStore(tmp_path)
    assert not run(store, part=0, parts=2)
    half = read_map(store, "key", "quantization")
    assert 0 < half.measured < 1 and half.layers == ("first", "second")
    assert run(store, part=1, parts=2)
    whole = read_map(store, "key", "quantization")
    assert whole.complete and whole.gaps == {"second": "too small"}
    assert [(row.fqn, row.value) for row in whole.rows] == [("first", bits) for bits in (8, 6, 4, 3, 2)]
    assert [row.size_bytes for row in whole.rows] == [80, 60, 40, 30, 20]
    assert whole.rows[0].knob == "weight_bits" and whole.rows[0].technique == "quantization"


def test_what_is_measured_is_not_measured_again(tmp_path: Path, fake: FakeProber) -> None:
    store = ResultStore(tmp_path)
    run(store)
    assert fake.asked.count(("second", 2)) == 1 and ("second", 3) not in fake.asked  # it cannot act at any strength
    asked = len(fake.asked)
    assert run(store) and len(fake.asked) == asked


def test_a_cancelled_map_keeps_what_it_has_and_goes_on(tmp_path: Path, fake: FakeProber) -> None:
    store = ResultStore(tmp_path)
    with pytest.raises(CancelledError):
        run(store, cancelled=lambda: len(fake.asked) >= 3)
    assert 0 < len(read_map(store, "key", "quantization").rows) < 5
    assert run(store)
