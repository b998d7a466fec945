"""Folders that transformers has written: the same logits, stated preprocessing, and one line where they do not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers")

from models import datasets, registry
from models.datasets import sst2
from models.datasets.sentences import train_tokenizer
from models.errors import FieldError, ModelError
from models.user.kept_huggingface import add_huggingface

WHEN = "2026-01-01T00:00:00+00:00"
SENTENCES = (["a good film", "a bad film", "good", "bad"] * 20, [1, 0, 1, 0] * 20)
SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
STATED = {
    "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.3], "resample": 3, "do_center_crop": True,
    "size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))


def randomized(model: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.1)
    return model.eval()


def images(kind: str, folder: Path, **more: Any) -> Any:
    """A folder of a small image classifier of ten classes; returns the network."""
    from transformers import AutoConfig, AutoModelForImageClassification

    settings = {
        "vit": {**SMALL, "image_size": 32, "patch_size": 8}, "deit": {**SMALL, "image_size": 32, "patch_size": 8},
        "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
        "mobilenet_v2": {"depth_multiplier": 0.25, "image_size": 32},
        "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2},
    }[kind]
    config = AutoConfig.for_model(kind, num_labels=10, architectures=[], **settings, **more)
    model = randomized(AutoModelForImageClassification.from_config(config))
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(STATED))
    return model


def text(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "bert", **more: Any) -> Any:
    """A folder of a small text classifier with a tokenizer; SST-2 is a few sentences."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    monkeypatch.setattr(sst2, "training_sentences", lambda: SENTENCES)
    monkeypatch.setattr(sst2, "dev_sentences", lambda: SENTENCES)
    settings = {"vocab_size": 60, "max_position_embeddings": 80, "pad_token_id": 0, **SMALL, **more}
    if kind == "distilbert":
        settings |= {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
    model = randomized(AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, **settings)))
    model.save_pretrained(folder)
    train_tokenizer(SENTENCES[0], 60).save(str(folder / "tokenizer.json"))
    return model


@pytest.mark.parametrize("kind", ["vit", "deit", "resnet", "mobilenet_v2", "convnext"])
def test_an_image_classifier_gives_the_logits_of_its_folder(kind: str, tmp_path: Path) -> None:
    theirs = images(kind, tmp_path / "f")
    kept = add_huggingface("mine", tmp_path / "f", {}, "digits", WHEN)
    info, x = registry.model_info("mine"), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(registry.load_model("mine")(x), theirs(pixel_values=x).logits, atol=1e-5, rtol=1e-4)
    assert (info.mean, info.std, info.scale) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 255.0)
    assert (info.input_shape, info.resize_size, info.interpolation) == ((3, 32, 32), 36, "bicubic")
    assert info.preprocessing_source == "preprocessor_config.json" and info.architecture == f"huggingface:{kind}"
    assert kept.info.num_classes == 10


@pytest.mark.parametrize("form", ["sharded", "half", "pytorch_model.bin"])
def test_weights_lie_in_shards_in_half_precision_or_in_a_pickle(form: str, tmp_path: Path) -> None:
    theirs = images("vit", tmp_path / "f")
    if form == "sharded":
        (tmp_path / "f" / "model.safetensors").unlink()
        theirs.save_pretrained(tmp_path / "f", max_shard_size="8KB")
    elif form == "half":
        theirs.half().save_pretrained(tmp_path / "f")
        theirs.float()
    else:
        from safetensors.torch import load_file

        torch.save(load_file(tmp_path / "f" / "model.safetensors"), tmp_path / "f" / "pytorch_model.bin")
        (tmp_path / "f" / "model.safetensors").unlink()
    kept = add_huggingface("mine", tmp_path / "f", {}, "digits", WHEN)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(registry.load_model("mine")(x), theirs(pixel_values=x).logits, atol=1e-5, rtol=1e-4)
    said = " ".join(kept.imported.lines())
    assert {"sharded": "Read from", "half": "of float16", "pytorch_model.bin": "Nothing"}[form] in said


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "roberta"])
def test_a_text_classifier_is_scored_on_sst2_in_its_vocabulary(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = text(tmp_path / "f", monkeypatch, kind, id2label={0: "NEGATIVE", 1: "POSITIVE"})
    kept = add_huggingface("mine", tmp_path / "f", {}, "sst2", WHEN)
    assert kept.info.dataset == "mine_sst2" and "mine_sst2" in [info.name for info in datasets.list_datasets()]
    monkeypatch.setattr(datasets.registry, "has_data", lambda name: True)
    ids: Tensor = datasets.load_dataset("mine_sst2").test.inputs[:]
    assert ids.shape == (80, kept.info.input_shape[0]) and int((ids[2] != 0).sum()) == 1
    logits = theirs(input_ids=ids[:4], attention_mask=(ids[:4] != 0).long()).logits
    torch.testing.assert_close(registry.load_model("mine")(ids[:4]), logits, atol=1e-5, rtol=1e-4)


def change(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    read = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in read.items() if value is not None}))


def test_what_does_not_fit_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "f"
    images("vit", folder)

    def refused(words: str, dataset: str | None = "digits", **given: Any) -> None:
        with pytest.raises((ModelError, FieldError), match=words) as caught:
            add_huggingface("mine", folder, given, dataset, WHEN)
        assert "\n" not in str(caught.value) and not registry.is_own("mine")

    names = {str(9 - i): str(i) for i in range(10)}
    config = (folder / "config.json").read_text()
    change(folder, "config.json", id2label=names)
    refused(r"dataset: 'digits' .*its class 0 is '0', id2label's is '9'")
    change(folder, "config.json", id2label=None, auto_map={"AutoModel": "code.Model"})
    refused("code of the folder")
    change(folder, "config.json", auto_map=None, model_type="llama", architectures=["LlamaForCausalLM"])
    refused("model_type 'llama' with LlamaForCausalLM")
    (folder / "config.json").write_text(config)
    change(folder, "config.json", hidden_size=24)
    refused("do not fit config.json: .*of another shape")
    (folder / "config.json").write_text(config)
    (folder / "preprocessor_config.json").unlink()
    refused("preprocessor_config.json: None .*give mean and std")
    assert add_huggingface("mine", folder, {"mean": 0.5, "std": 0.5}, "digits", WHEN).info.mean == (0.5, 0.5, 0.5)
    registry_name = tmp_path / "t"
    text(registry_name, monkeypatch, id2label={0: "POSITIVE", 1: "NEGATIVE"})
    folder = registry_name
    with pytest.raises(FieldError, match="its class 0 is 'negative', id2label's is 'positive'"):
        add_huggingface("other", folder, {}, None, WHEN)
    with pytest.raises(FieldError, match="scored on sst2"):
        add_huggingface("other", folder, {}, "digits", WHEN)
