"""Models by name: what is listed can be built and fits its record; what is damaged is not loaded."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from compression.experiments.graphs import shipped_models
from models import registry
from models.datasets import list_datasets
from models.errors import ModelError

NAME = "digits_mobilenet"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one model's weights, in the folder that is used."""
    for suffix in ("safetensors", "json"):
        shutil.copy(registry.WEIGHTS_DIR / f"{NAME}.{suffix}", tmp_path)
    monkeypatch.setattr(registry, "WEIGHTS_DIR", tmp_path)
    return tmp_path / f"{NAME}.safetensors"


@pytest.mark.parametrize("info", registry.list_models(), ids=lambda info: info.name)
def test_a_record_is_true_of_the_architecture(info: registry.ModelInfo) -> None:
    tokens = info.task == "language_modeling"
    large = info.parameters is not None and not info.name.startswith("regnet")  # which computes its widths
    with torch.device("meta" if large else "cpu"), torch.no_grad():  # shapes are all that is asked for
        model = registry.build_model(info.name).eval()
        outputs = model(torch.zeros(2, *info.input_shape, dtype=getattr(torch, info.input_dtype)))
    assert info.parameters in (None, sum(p.numel() for p in model.parameters()))
    assert outputs.shape == ((2, *info.input_shape, info.num_classes) if tokens else (2, info.num_classes))
    data = next(d for d in list_datasets() if d.name == info.dataset)
    assert (data.task, data.num_classes, data.input_shape) == (info.task, info.num_classes, info.input_shape)
    assert info.license and info.source


@pytest.mark.parametrize("name", shipped_models())
def test_weights_are_there_and_every_load_is_a_copy_of_its_own(name: str) -> None:
    assert registry.has_weights(name)
    first, second = registry.load_model(name), registry.load_model(name)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert any(bool(p.any()) for p in second.parameters())


def test_one_flipped_bit_is_noticed(weights: Path) -> None:
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        registry.load_model(NAME)


def test_weights_of_another_architecture_do_not_fit(weights: Path) -> None:
    weights.with_suffix(".json").unlink()
    tensors = load_file(weights)
    tensors.pop(next(iter(tensors)))
    save_file(tensors, weights)
    with pytest.raises(ModelError, match="do not fit") as caught:
        registry.load_model(NAME)
    assert "\n" not in str(caught.value)


def test_a_file_that_holds_no_weights_is_told_in_one_line(weights: Path) -> None:
    weights.with_suffix(".json").unlink()
    weights.write_bytes(b"nothing")
    with pytest.raises(ModelError) as caught:
        registry.load_model(NAME)
    assert NAME in str(caught.value) and "\n" not in str(caught.value)


def test_missing_weights_say_how_they_are_made(weights: Path) -> None:
    weights.unlink()
    assert not registry.has_weights(NAME)
    with pytest.raises(ModelError, match=f"python -m models.train {NAME}"):
        registry.load_model(NAME)


def test_an_unknown_name_gets_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no model 'resnet1'; allowed: .*digits_resnet"):
        registry.model_info("resnet1")
    assert not registry.has_weights("resnet1")
    with pytest.raises(ModelError):
        registry.load_model("../weights/digits_resnet")
