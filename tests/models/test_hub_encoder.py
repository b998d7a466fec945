"""Encoders of the Hugging Face hub in this project's network: the same logits, and all that compression needs."""

import json
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.metrics.session import open_session
from compression.structure import find_groups
from compression.techniques import get_technique
from models import hub_encoder
from models.architectures.distilbert import DistilBert
from models.errors import ModelError
from tests.zoo.networks import zoo_subject

TINY: dict[str, Any] = {
    "vocab_size": 60, "max_position_embeddings": 32, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48,
}
needs_transformers = pytest.mark.skipif(
    find_spec("transformers") is None, reason="transformers is not installed (pip install -r requirements-text.txt)"
)


def tiny() -> DistilBert:
    torch.manual_seed(0)
    return DistilBert(60, 32, 32, 2, 4, 48, 2).eval()


def test_its_heads_and_neurons_can_be_removed() -> None:
    groups, _ = find_groups(tiny(), torch.randint(1, 60, (1, 7)), "tiny hub encoder")
    assert [group.kind for group in groups].count("head") == 2 and [g.kind for g in groups].count("neuron") == 3


def test_padding_changes_nothing() -> None:
    model, ids = tiny(), torch.randint(1, 60, (2, 7))
    padded = torch.cat([ids, torch.zeros(2, 5, dtype=torch.int64)], 1)
    with torch.no_grad():
        torch.testing.assert_close(model(padded), model(ids))


def test_it_is_pruned_and_runs_on_integers(tmp_path: Path) -> None:
    model, ids = tiny(), torch.randint(1, 60, (8, 12))
    with torch.no_grad():
        targets = model(ids).argmax(-1)
    context = zoo_subject(
        "cifar_resnet", original=model, example_input=ids[:1], calibration_inputs=ids, calibration_targets=targets,
        task="text_classification", model_key="hub", data_key="ids", protected=(),
    ).context
    pruning, quantization = get_technique("channel_pruning"), get_technique("quantization")
    smaller = pruning.function(deepcopy(model), pruning.config_type(pruning_ratio=0.5), context)
    assert sum(p.numel() for p in smaller.parameters()) < 0.8 * sum(p.numel() for p in model.parameters())
    exact = quantization.function(deepcopy(model), quantization.config_type(weight_bits=8, activation_bits=8), context)
    grids = calibrate_activations(exact, ids[:1], ids, tmp_path)
    path = tmp_path / "model.onnx"
    report = compile_graph(exact, ids[:1], path, activation_grids=grids, cache_dir=tmp_path)
    assert list(report.kernels.values()).count("int8") >= 12, report.kernels
    session = open_session(path, 1)
    outputs = torch.from_numpy(session.run(None, {"input": ids.numpy()})[0])
    with torch.no_grad():
        expected = model(ids)
    assert float((outputs - expected).norm()) < 0.2 * float(expected.norm())


def test_without_transformers_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_encoder, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install -r requirements-text\.txt"):
        hub_encoder.load_hub_encoder()


@needs_transformers
def test_a_checkpoint_gives_the_same_logits(tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    torch.manual_seed(0)
    theirs = DistilBertForSequenceClassification(DistilBertConfig(**TINY, num_labels=3)).eval()
    theirs.save_pretrained(tmp_path)
    own = hub_encoder.load_hub_encoder(tmp_path)
    ids = torch.randint(1, 60, (4, 10))
    ids[:, 7:] = 0
    with torch.no_grad():
        logits = theirs(ids, attention_mask=(ids != 0).long()).logits
        torch.testing.assert_close(own(ids), logits, rtol=1e-4, atol=1e-5)


@needs_transformers
def test_other_checkpoints_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        hub_encoder.load_hub_encoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 60}))
    with pytest.raises(ModelError, match="DistilBERT classifier is needed, not 'bert'"):
        hub_encoder.load_hub_encoder(tmp_path)
