"""Predicted sensitivities: the formula against a direct computation, and which layers and strengths they cover."""

from pathlib import Path

import pytest
import torch
from torch import nn

from compression.analysis.prediction import Predictor, divergence_of_change
from compression.analysis.sensitivity import predict, read_map, strengths
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.problems import problem_of
from compression.recipe import Recipe
from compression.techniques import get_technique

MODEL, DATASET = "digits_mobilenet", "digits"


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(load_task(Recipe(MODEL, DATASET)), tmp_path_factory.mktemp("cache"))


def test_of_a_linear_classifier_it_is_the_divergence_itself() -> None:
    """The last layer's outputs are the logits, at one position; a small change of one row changes one of them."""
    torch.manual_seed(0)
    layer, inputs = nn.Linear(12, 4, bias=False).double(), torch.randn(4000, 12, dtype=torch.float64)
    logits = layer(inputs).detach()
    p = logits.softmax(-1)
    hessian = 2 / len(inputs) * inputs.T @ inputs
    changed = torch.zeros(4, 12, dtype=torch.float64)
    changed[2] = 0.01 * torch.randn(12, dtype=torch.float64)
    after = inputs @ (layer.weight.detach() + changed).T
    wanted = problem_of("image_classification").divergence(after, logits)
    found = divergence_of_change(changed, hessian, (p * (1 - p)).mean(0))
    assert found == pytest.approx(wanted, rel=0.15)  # inputs and gradients are not quite independent
    assert divergence_of_change(2 * changed, hessian, (p * (1 - p)).mean(0)) == pytest.approx(4 * found)


def test_groups_of_a_convolution_have_their_own_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(6, 2, 3, 3, generator=generator)
    rows = torch.randn(3, 18, 18, generator=generator)
    hessians, energy = rows @ rows.mT, torch.rand(6, generator=generator)
    direct = sum(
        0.25 * float(energy[c]) * float(change[c].flatten() @ hessians[c // 2] @ change[c].flatten()) for c in range(6)
    )
    assert divergence_of_change(change, hessians, energy) == pytest.approx(direct, rel=1e-5)


def test_a_prediction_is_near_the_measurement_where_the_change_is_small(predictor: Predictor) -> None:
    technique, cells = get_technique("quantization"), dict(predictor.predict(get_technique("quantization"), 4, bool))
    assert list(cells) == predictor.layers()
    worst = max(cells, key=lambda fqn: cells[fqn].error)
    measured = predictor.probe(worst, technique, "weight_bits", 4, bool)
    assert measured.error / 4 < cells[worst].error < 4 * measured.error
    assert cells[worst].size_bytes == pytest.approx(measured.size_bytes, rel=0.1)
    assert cells[worst].macs == measured.macs
    assert all(0 <= own.accuracy_drop < 1 for own in cells.values())


def test_split_layers_are_predicted_by_their_product(predictor: Predictor) -> None:
    cells = dict(predictor.predict(get_technique("low_rank"), 0.3, bool))
    assert cells and all(own.error > 0 for own in cells.values())
    assert set(cells) < set(predictor.layers()), "small layers cannot be split"


def test_a_map_is_predicted_once_and_measured_cells_take_the_place_of_predictions(tmp_path: Path) -> None:
    store, key = ResultStore(tmp_path), "k"
    predict(store, key, MODEL, DATASET, "quantization", lambda fraction, message: None, bool)
    found = read_map(store, key, "quantization")
    assert found.has_prediction and not found.rows and found.measured == 0.0
    assert len(found.predicted) == len(found.layers) * len(strengths(get_technique("quantization")))
    first = found.known[0]
    store.put_part(key, f"{first.fqn} at {first.value}", {**vars(first), "error": 7.0})
    again = read_map(store, key, "quantization")
    assert again.known[0].error == 7.0 and len(again.known) == len(found.known)
    assert len(again.predicted) == len(found.predicted) - 1


def test_nothing_is_predicted_where_shapes_change(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    predict(store, "k", MODEL, DATASET, "channel_pruning", lambda fraction, message: None, bool)
    found = read_map(store, "k", "channel_pruning")
    assert found.has_prediction and found.predicted == () == found.known
