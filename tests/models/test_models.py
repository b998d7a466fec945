"""The models and data that come along, and the guard that lets torchvision import."""

import hashlib
import json
import subprocess
import sys

import pytest
import torch

from compression.experiments.graphs import SHIPPED, graph_name, shipped_models
from models import registry, torchvision_guard
from models.datasets import load_dataset
from models.torchvision_guard import declare_missing_operators

SHIPPED_MODELS = ("digits_resnet", "digits_mobilenet", "digits_vit", "python_gpt")


@pytest.mark.parametrize("name", shipped_models())
def test_a_card_tells_the_truth_about_its_weights(name: str) -> None:
    card = json.loads((registry.WEIGHTS_DIR / f"{name}.json").read_text(encoding="utf-8"))
    weights = registry.WEIGHTS_DIR / f"{name}.safetensors"
    assert card["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    model = registry.load_model(name)
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert card["command"] == f"python -m models.train {name}"
    assert not model.training


def test_the_embedded_models_are_good_and_small_enough() -> None:
    cards = {name: registry.model_card(name) for name in SHIPPED_MODELS}
    assert all(cards[name]["accuracy"] >= 0.98 for name in SHIPPED_MODELS if name != "python_gpt")
    assert cards["python_gpt"]["bits_per_character"] <= 2.0
    sizes = {path.stem: path.stat().st_size for path in registry.WEIGHTS_DIR.glob("*.safetensors")}
    assert sum(sizes[name] for name in SHIPPED_MODELS) < 15e6
    assert sum(sizes.values()) < 40e6


def test_the_digits_are_split_once_and_for_all() -> None:
    data = load_dataset("digits")
    assert data.content_hash == "eb0ff571beb45e68"
    assert len(data.test) >= 700
    shares = torch.bincount(data.test.targets) / torch.bincount(torch.cat([data.test.targets, data.train.targets]))
    assert float((shares - 0.4).abs().max()) < 0.01
    rows = {row.numpy().tobytes() for row in data.test.inputs}
    assert sum(row.numpy().tobytes() in rows for row in data.train.inputs) <= 2


def test_the_digits_are_read_as_scikit_learn_reads_them() -> None:
    from sklearn.datasets import load_digits

    from models.datasets.digits import _table

    wanted = load_digits()
    table = _table()
    assert (table[:, :64] == wanted.data).all() and (table[:, 64] == wanted.target).all()


def test_text_of_the_test_is_not_in_the_training_text() -> None:
    data = load_dataset("python_source")
    train = data.train.inputs.flatten().numpy().astype("uint8").tobytes()
    windows = [row.numpy().astype("uint8").tobytes()[:60] for row in data.test.inputs[:40]]
    assert sum(window in train for window in windows) <= 2


def test_shipped_graphs_are_those_of_the_shipped_models() -> None:
    """After a change of an architecture: python -m compression graphs."""
    names = {graph_name(name) for name in shipped_models()}
    assert {path.name for path in SHIPPED.glob("*.onnx")} == names


def test_torchvision_imports_and_a_second_call_declares_nothing() -> None:
    declare_missing_operators()
    assert declare_missing_operators() == []
    import torchvision

    assert torchvision.__version__


@pytest.mark.parametrize("declared", [True, False])
def test_only_missing_operators_are_declared(declared: bool) -> None:
    """In a process of its own, with operators as an ordinary build has them, or without."""
    setup = "library = torch.library.Library('torchvision', 'DEF'); library.define(guard._SCHEMAS['nms'])\n"
    program = (
        "import importlib.util, torch\n"  # by its path: importing the package declares them
        f"spec = importlib.util.spec_from_file_location('guard', {torchvision_guard.__file__!r})\n"
        "guard = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(guard)\n"
        "guard._load_extension = lambda: None\n"
        + (setup if declared else "")
        + "print(sorted(guard.declare_missing_operators()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("['qnms']" if declared else "['nms', 'qnms']")
