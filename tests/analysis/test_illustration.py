"""What a technique does to one real layer, and that it is kept."""

import math
from pathlib import Path

import pytest

from compression.analysis.illustration import COLUMNS, ROWS, illustrate, read_illustration
from compression.core.errors import CancelledError, InputError
from compression.experiments.store import ResultStore
from compression.layers import weight_layers
from compression.recipe import step_from_dict
from compression.techniques import Technique, list_techniques
from models.registry import load_model

MODEL = "digits_resnet"


def quiet(fraction: float, message: str) -> None:
    del fraction, message


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ResultStore:
    return ResultStore(tmp_path_factory.mktemp("pictures"))


@pytest.mark.parametrize("technique", ["channel_pruning", "low_rank", "weight_pruning", "weight_sharing"])
def test_a_real_layer_is_shown_before_and_after(store: ResultStore, technique: str) -> None:
    found = illustrate(store, MODEL, technique, quiet)
    weight = dict(weight_layers(load_model(MODEL)))[found.layer].weight.detach().flatten(1)
    corner = weight[:ROWS, :COLUMNS]
    assert len(found.before) == len(corner) and len(found.before[0]) == corner.shape[1]
    assert all(
        math.isclose(shown, float(real), rel_tol=1e-3)
        for row, own in zip(found.before, corner, strict=True) for shown, real in zip(row, own, strict=True)
    )
    assert found.after != found.before and sum(found.counts_before) == weight.numel()
    assert read_illustration(store, MODEL, technique) == found
    cells = [value for row in found.after for value in row]
    if technique == "channel_pruning":
        assert None in cells and sum(found.counts_after) < weight.numel()
    elif technique == "weight_pruning":
        assert cells.count(0.0) > 0.4 * len(cells)
    elif technique == "weight_sharing":
        assert len(set(cells)) <= 6


def test_what_cannot_be_shown_says_why(store: ResultStore) -> None:
    with pytest.raises(InputError, match="block sharing can act on is needed"):
        illustrate(store, "digits_mobilenet", "block_sharing", quiet)
    with pytest.raises(InputError, match="technique: 'magic'"):
        read_illustration(store, MODEL, "magic")
    with pytest.raises(InputError, match="model: 'none'"):
        read_illustration(store, "none", "low_rank")


def test_a_picture_can_be_cancelled(tmp_path: Path) -> None:
    own = ResultStore(tmp_path)
    with pytest.raises(CancelledError):
        illustrate(own, MODEL, "quantization", quiet, lambda: True)
    assert read_illustration(own, MODEL, "quantization") is None


@pytest.mark.parametrize("technique", list_techniques(), ids=lambda t: t.key)
def test_every_technique_can_be_explained(technique: Technique) -> None:
    assert technique.formula and technique.symbols and technique.smaller and technique.faster
    assert [step_from_dict(step).technique for step in technique.example][-1] == technique.key
