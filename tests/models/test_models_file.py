"""A Python file of models, named at the start: its models are like any others, and what is wrong with it is told."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from compression.cli.main import main
from models import registry
from models.errors import ModelError
from models.models_file import VARIABLE
from tests.models.own_things import network, weights_of

SOURCE = '''
from models.user.builders import architecture, build
from models.registry import ModelInfo, register_model

KIND = architecture("cifar_resnet8")

@register_model(ModelInfo(
    name="{name}", title="Mine", task="image_classification", dataset="digits", input_shape=(3, 32, 32),
    num_classes=10, family="cnn", description="x", weights={weights!r},
))
def mine():
    return build(KIND, 10, 32)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(VARIABLE, "")
    registry._load_file.cache_clear()
    before, of_file = dict(registry._MODELS), set(registry._OF_FILE)
    yield tmp_path
    monkeypatch.delenv(VARIABLE, raising=False)
    registry._load_file.cache_clear()
    registry._MODELS.clear()
    registry._MODELS.update(before)
    registry._OF_FILE.clear()
    registry._OF_FILE.update(of_file)


def written(folder: Path, text: str) -> str:
    (folder / "my_models.py").write_text(text)
    return str(folder / "my_models.py")


def test_its_models_can_be_used_and_their_weights_lie_beside_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(folder, SOURCE.format(name="mine", weights="w.safetensors"))
    assert main(["--models", file, "models", "--json"]) == 0
    shown = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert shown["mine"]["here"] is False
    with pytest.raises(ModelError, match=r"names '.*w\.safetensors', which is missing"):
        registry.load_model("mine")
    weights_of(folder / "w.safetensors", network(10))
    assert registry.load_model("mine") is not None
    first = registry.model_identity("mine")
    written(folder, SOURCE.format(name="mine", weights="w.safetensors") + "# changed\n")
    assert registry.model_identity("mine") != first
    assert registry.model_info("mine").license == "the user's"
    assert not registry.is_own("mine")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1 / 0", "ZeroDivisionError"), ("def broken(", "SyntaxError"), ("import nothing_of_that_name", "nothing"),
        (SOURCE.format(name="digits_resnet", weights=None), "there is already"), (None, "existing Python file"),
    ],
    ids=["fails", "syntax", "import", "taken", "missing"],
)
def test_what_is_wrong_with_it_is_told_in_one_line(
    text: str | None, words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(folder / "gone.py") if text is None else written(folder, text)
    assert main(["models", "--models", file]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: --models: ") and words in lines[0]
    assert registry._MODELS["digits_resnet"][0].title == "ResNet-20 on digits"


def test_a_network_that_gives_other_outputs_than_its_record_says_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(
        folder, "from torch import nn\nfrom models.registry import ModelInfo, register_model\n"
        "@register_model(ModelInfo('seven', 'Seven', 'image_classification', 'digits', (1, 32, 32), 10, 'mlp', ''))\n"
        "def seven(): return nn.Sequential(nn.Flatten(), nn.Linear(1024, 7))\n",
    )
    weights_of(folder / "seven.safetensors", nn.Sequential(nn.Flatten(), nn.Linear(1024, 7)))
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps({"model": "seven", "dataset": "digits", "steps": []}))
    assert main(["--models", path, "run", str(recipe), "--quick"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "seven: the network gives 7 outputs, 10 are needed: one logit per class" in line
