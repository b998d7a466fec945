"""Weights files of others: read without executing them, and loaded as a whole or not at all."""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models import registry
from models.errors import ModelError
from models.releases import Release
from models.weights_files import load_weights, read_weights


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))


def without_counts(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}


@pytest.mark.parametrize("form", ["safetensors", "plain", "checkpoint", "parallel"])
def test_the_usual_forms_are_read(form: str, tmp_path: Path) -> None:
    state = without_counts(network())
    path = tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pth")
    if form == "safetensors":
        save_file(state, path)
    elif form == "plain":
        torch.save(OrderedDict(state), path)
    elif form == "checkpoint":
        torch.save({"epoch": 7, "state_dict": state, "best_prec1": torch.tensor(0.9)}, path)
    else:
        torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, path)
    found = read_weights(path)
    assert found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)
    model = network()
    load_weights(model, found, "mine")
    assert all(torch.equal(model.state_dict()[k], state[k]) for k in state)


class Trap:
    """Makes a file when it is unpickled in the ordinary way."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("content", ["trap", "noise", "list", "object", "empty"])
def test_what_is_no_weights_file_is_refused_and_not_executed(content: str, tmp_path: Path) -> None:
    path, sprung = tmp_path / "weights.pth", tmp_path / "sprung"
    if content == "trap":
        path.write_bytes(pickle.dumps({"weight": Trap(sprung)}, protocol=2))
    elif content == "noise":
        path.write_bytes(b"\x80\x02nothing")
    elif content == "empty":
        path.touch()
    else:
        torch.save([1, 2] if content == "list" else {"weight": "no tensor"}, path)
    with pytest.raises(ModelError, match=r"weights\.pth cannot be read") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value) and not sprung.exists()


@pytest.mark.parametrize("name", ["weights.pkl", "weights", "weights.py"])
def test_other_kinds_of_files_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match=r"allowed: \.safetensors"):
        read_weights(tmp_path / name)


def test_a_mismatch_says_which_and_how_many_and_loads_nothing() -> None:
    model, other = network(), network()
    state = without_counts(other)
    del state["3.bias"]
    state["3.weight"] = torch.zeros(5, 2)
    state |= {f"extra.{i}": torch.zeros(1) for i in range(5)}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        load_weights(model, state, "mine")
    told = str(caught.value)
    assert "1 missing: 3.bias" in told and "5 unknown: extra.0, extra.1, extra.2 and 2 more" in told
    assert "1 of another shape: 3.weight (5x2 instead of 3x2)" in told and "\n" not in told
    assert all(torch.equal(model.state_dict()[k], before[k]) for k in before)


def test_tensors_of_a_release_get_our_names() -> None:
    release = Release("https://x/y-12345678.pt", "12345678", "a", "b", 0.5, renamed=(("fc.", "linear."),))
    theirs = {"fc.weight": torch.zeros(1), "conv": torch.zeros(1)}
    assert list(release.in_our_names(theirs)) == ["linear.weight", "conv"]


def test_a_release_goes_before_the_users_file_and_only_it_has_the_published_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPRESSION_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "weights").mkdir()
    own = tmp_path / "weights" / "imagenet_squeezenet1_1.safetensors"
    save_file({"a": torch.zeros(1)}, own, {"source": "somebody", "license": "Apache-2.0"})
    origin = registry.weights_origin("squeezenet1_1")
    assert (origin.path, origin.source, origin.license) == (own, "somebody", "Apache-2.0")
    assert origin.published_accuracy is None and not origin.ours
    release = registry.model_info("squeezenet1_1").release
    assert release is not None
    release.path().parent.mkdir(parents=True)
    release.path().touch()
    assert registry.weights_origin("squeezenet1_1").path == release.path()
    assert registry.weights_origin("squeezenet1_1").published_accuracy == release.accuracy
    assert registry.weights_origin("digits_resnet").ours
