"""A user's model and data from the command line: added, measured with integers, exported, verified, removed."""

import json
from pathlib import Path
from typing import Any

import pytest

from compression.cli.main import main
from models.registry import WEIGHTS_DIR
from tests.models.own_things import class_folders, network, weights_of, zipped

INT8 = [{"technique": "quantization", "weight_bits": 8, "activation_bits": 8}]
WEIGHTS = WEIGHTS_DIR / "digits_resnet.safetensors"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def written(path: Path, **recipe: object) -> str:
    path.write_text(json.dumps({"steps": INT8, **recipe}), encoding="utf-8")
    return str(path)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


def test_a_model_that_a_recipe_describes_is_measured_and_its_bundle_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"architecture": "digits_resnet", "weights": "mine.safetensors", "num_classes": 10}
    (tmp_path / "mine.safetensors").write_bytes(WEIGHTS.read_bytes())  # a relative path counts from the recipe, too
    recipe = written(tmp_path / "recipe.yaml", model=model, dataset="digits", n_samples=60)
    bundle = tmp_path / "bundle.zip"
    assert main(["run", recipe, "--quick", "--json", "--out", str(bundle)]) == 0
    result = told(capsys)
    assert result["accuracy"] > 0.9 and result["size_bytes"] < 0.4 * result["baseline"]["size_bytes"]
    assert main(["verify", str(bundle), "--json"]) == 0
    assert told(capsys)["passed"] is True
    report = tmp_path / "card.md"
    assert main(["export", result["key"], "--card", str(report)]) == 0
    assert "the user's file mine.safetensors" in report.read_text()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"architecture": "digits_resnet"}, "model.weights: None"),
        ({"architecture": "magic", "weights": "{w}"}, "model.architecture: 'magic'"),
        ({"architecture": "digits_resnet", "weights": "gone.pth"}, "no such file"),
        ({"architecture": "digits_resnet", "weights": "{w}", "num_classes": 3}, "has 10 classes"),
        ({"architecture": "digits_mobilenet", "weights": "{w}"}, "do not fit: "),
        ({"architecture": "digits_resnet", "weights": "{w}", "colour": 1}, "model.colour"),
    ],
    ids=str,
)
def test_a_wrong_description_gets_one_line(
    model: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {k: str(WEIGHTS) if v == "{w}" else v for k, v in model.items()}
    assert main(["run", written(tmp_path / "r.yaml", model=model, dataset="digits", n_samples=40), "--quick"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and words in errors[0], errors


def test_own_data_and_an_own_model_on_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = zipped(class_folders(tmp_path / "a", 8), tmp_path / "a.zip")
    assert main(["add-data", "photos", str(archive), "--json"]) == 0
    added = told(capsys)
    assert (added["n_train"] + added["n_test"], added["remarks"][0][:18]) == (24, "Too few to trust: ")
    file = weights_of(tmp_path / "w.pth", network(3))
    arguments = ["add-model", "net", "--architecture", "cifar_resnet8", "--weights", str(file), "--num-classes", "3"]
    assert main([*arguments, "--dataset", "digits"]) == 2
    assert "num_classes: 3 is not allowed; the dataset 'digits' has 10" in capsys.readouterr().err
    assert main([*arguments, "--dataset", "photos", "--json"]) == 0
    assert told(capsys)["model"]["dataset"] == "photos"
    assert main([*arguments, "--dataset", "photos"]) == 2
    capsys.readouterr()
    bundle = tmp_path / "bundle.zip"
    recipe = written(tmp_path / "r.yaml", model="net", dataset="photos")
    assert main(["run", recipe, "--quick", "--json", "--out", str(bundle)]) == 0
    result = told(capsys)
    assert result["n_samples"] == added["n_test"] and result["size_bytes"] < result["baseline"]["size_bytes"]
    assert main(["verify", str(bundle)]) == 0
    for name in ("photos", "digits_resnet", "nothing"):
        assert main(["remove", name]) == 2
    assert main(["remove", "net"]) == 0 and main(["remove", "photos"]) == 0
    capsys.readouterr()
    assert main(["run", recipe]) == 2
    assert "there is no model 'net'" in capsys.readouterr().err
