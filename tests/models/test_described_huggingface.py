"""Folders of transformers that a recipe names: the same logits, every file in the identity, one line otherwise."""

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from compression.artifact import text_template
from compression.bundles.inputs import _text, tokenizer_member
from compression.cli.main import main
from compression.core.errors import InputError
from compression.experiments.results import plain_model
from compression.experiments.stages import key_of
from compression.experiments.tasks import load_task
from compression.library.models_file import beside
from compression.recipe import Recipe, recipe_from_dict
from models import datasets, registry
from models.user.kept_huggingface import add_huggingface
from tests.models.test_huggingface import SENTENCES, WHEN, change, images, text


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))


def test_an_image_classifier_is_read_where_it_lies(tmp_path: Path) -> None:
    theirs, x = images("vit", tmp_path / "f"), torch.randn(2, 3, 32, 32)
    task = load_task(Recipe({"huggingface": str(tmp_path / "f")}, "digits"))
    torch.testing.assert_close(task.load_model()(x), theirs(pixel_values=x).logits, atol=1e-5, rtol=1e-4)
    assert (task.info.mean, task.info.resize_size) == ((0.5, 0.4, 0.3), 36)
    changed = load_task(Recipe({"huggingface": str(tmp_path / "f"), "mean": 0.1}, "digits"))
    assert changed.info.mean == (0.1, 0.1, 0.1)
    assert not (tmp_path / "home" / "own" / "models").exists()


def test_the_key_changes_with_each_file_that_decides(tmp_path: Path) -> None:
    theirs = images("vit", tmp_path / "f")
    recipe = Recipe({"huggingface": str(tmp_path / "f")}, "digits")
    keys = [key_of(recipe)]
    change(tmp_path / "f", "config.json", hidden_act="relu")
    keys.append(key_of(recipe))
    change(tmp_path / "f", "preprocessor_config.json", image_mean=[0.1, 0.1, 0.1])
    keys.append(key_of(recipe))
    with torch.no_grad():
        next(theirs.parameters()).add_(0.5)
    theirs.save_pretrained(tmp_path / "f")
    change(tmp_path / "f", "config.json", hidden_act="relu")
    keys.append(key_of(recipe))
    assert len(set(keys)) == 4


def test_models_of_equal_weights_and_another_configuration_are_not_the_same(tmp_path: Path) -> None:
    images("vit", tmp_path / "f")
    add_huggingface("mine", tmp_path / "f", {}, "digits", WHEN)
    change(tmp_path / "f", "config.json", hidden_act="relu")
    add_huggingface("other", tmp_path / "f", {}, "digits", WHEN)
    x = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(registry.load_model("mine")(x), registry.load_model("other")(x))
    assert registry.weights_hash("mine") == registry.weights_hash("other")
    assert registry.model_identity("mine") != registry.model_identity("other")


def test_text_is_scored_on_sst2_in_the_word_pieces_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = text(tmp_path / "f", monkeypatch, id2label={0: "NEGATIVE", 1: "POSITIVE"})
    monkeypatch.setattr(datasets.registry, "has_data", lambda name: True)
    task = load_task(Recipe({"huggingface": str(tmp_path / "f")}, "sst2"))
    ids = task.dataset.test.inputs[:]
    assert task.dataset.info.class_names == ("negative", "positive") and int((ids[2] != 0).sum()) == 1
    logits = theirs(input_ids=ids[:4], attention_mask=(ids[:4] != 0).long()).logits
    torch.testing.assert_close(task.load_model()(ids[:4]), logits, atol=1e-5, rtol=1e-4)
    spec = {"shape": [task.info.input_shape[0]], **_text(task)}
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "tokenizer.json").write_bytes(tokenizer_member(task)["tokenizer.json"])
    for row, sentence in enumerate(SENTENCES[0][:4]):
        assert text_template.encode(sentence, spec, tmp_path / "bundle")[0].tolist() == ids[row].tolist()
    before = key_of(Recipe({"huggingface": str(tmp_path / "f")}, "sst2"))
    tokenizer = tmp_path / "f" / "tokenizer.json"
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "post_processor": {
        "type": "BertProcessing", "sep": ["[UNK]", 1], "cls": ["[UNK]", 1]}}))
    assert key_of(Recipe({"huggingface": str(tmp_path / "f")}, "sst2")) != before
    tokenizer.write_text(json.dumps({**json.loads(tokenizer.read_text()), "normalizer": None}))
    assert tokenizer_member(load_task(Recipe({"huggingface": str(tmp_path / "f")}, "sst2"))) == {}


@pytest.mark.parametrize(
    ("given", "dataset", "words"),
    [
        ({"huggingface": "nowhere"}, "digits", r"model.huggingface: 'nowhere' .*a folder with config.json and weights"),
        ({"huggingface": 3}, "digits", r"model.huggingface: 3 "),
        ({"huggingface": "{f}", "weights": "w.pth"}, "digits", r"model.weights: .*allowed beside a folder"),
        ({"huggingface": "{f}", "mean": [1, 2]}, "digits", r"model.mean: .*3 numbers"),
        ({"huggingface": "{f}"}, "sst2", r"model.dataset: 'sst2' "),
        ({"huggingface": "{f}"}, "nothing", r"model.dataset: 'nothing' "),
        ({"huggingface": "{empty}"}, "digits", r"model.huggingface: .*has no config.json"),
    ],
    ids=str,
)
def test_what_does_not_fit_names_the_field(given: dict[str, object], dataset: str, words: str, tmp_path: Path) -> None:
    images("vit", tmp_path / "f")
    (tmp_path / "e").mkdir()
    places = {"f": str(tmp_path / "f"), "empty": str(tmp_path / "e")}
    filled = {key: value.format(**places) if isinstance(value, str) else value for key, value in given.items()}
    with pytest.raises(InputError, match=words) as caught:
        load_task(recipe_from_dict({"model": filled, "dataset": dataset}))
    assert "\n" not in str(caught.value)


def test_damaged_weights_and_configurations_are_one_line(tmp_path: Path) -> None:
    images("vit", tmp_path / "f")
    recipe = Recipe({"huggingface": str(tmp_path / "f")}, "digits")
    load_task(recipe)
    change(tmp_path / "f", "config.json", hidden_size=24)
    with pytest.raises(InputError, match=r"do not fit config\.json: .*of another shape"):
        load_task(recipe)
    (tmp_path / "f" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"model\.huggingface: "):
        load_task(recipe)


def test_a_recipe_file_names_a_folder_beside_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images("resnet", tmp_path / "f")
    recipe = recipe_from_dict({"model": {"huggingface": "f"}, "dataset": "digits", "n_samples": 40})
    found = beside(tmp_path / "recipe.yaml", recipe)
    assert found.model == {"huggingface": str(tmp_path / "f")} and plain_model(found.model) == "f"
    (tmp_path / "recipe.json").write_text(json.dumps({"model": {"huggingface": "f"}, "dataset": "digits",
                                                      "n_samples": 40}))
    assert main(["run", str(tmp_path / "recipe.json"), "--quick", "--json", "--store", str(tmp_path / "store"),
                 "--out", str(tmp_path / "b.zip")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["n_samples"] == 40
    assert main(["verify", str(tmp_path / "b.zip"), "--json"]) == 0
