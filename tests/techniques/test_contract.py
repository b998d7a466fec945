"""What every technique owes to every kind of network."""

import copy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compression.artifact.packing import load_packed, model_tensors, pack_model, unpack_model
from compression.core.errors import NotApplicableError
from compression.knobs import knobs_of
from compression.layers import weight_layers
from compression.recipe import recipe_from_dict, recipe_from_yaml, recipe_hash, recipe_to_yaml
from compression.state import state_of
from compression.techniques import Technique, get_technique, list_techniques
from tests.techniques.networks import KINDS, Subject, subject

KEYS = [t.key for t in list_techniques()]
QUICK = {"distillation": {"epochs": 1}, "recovery": {"epochs": 10, "learning_rate": 0.005}}
ACTING = {**QUICK, "block_sharing": {"n_unique_blocks": 1}}
DEGENERATE = [
    ("weight_pruning", {"sparsity": 0.0}), ("channel_pruning", {"pruning_ratio": 0.0}),
    ("quantization", {"weight_bits": 32}), ("low_rank", {"rank_ratio": 1.0}),
    ("block_sharing", {"n_unique_blocks": 12}),
]


def apply(technique: Technique, kind: str, **knobs: Any) -> tuple[nn.Module, Subject]:
    """Run a technique on a copy of a network; recovery gets a pruned one, as it has nothing to do on a whole one."""
    made = subject(kind)
    model = copy.deepcopy(made.model)
    if technique.key == "recovery":
        prune(model)
    config = technique.config_type(**{**ACTING.get(technique.key, {}), **knobs})
    return technique.function(model, config, made.context).eval(), made


def prune(model: nn.Module) -> None:
    """Zero seven tenths of each layer's weights, with masks."""
    for fqn, layer in weight_layers(model):
        magnitude = layer.weight.detach().abs()
        mask = magnitude > magnitude.flatten().kthvalue(int(0.7 * magnitude.numel())).values
        layer.weight.data.mul_(mask)
        state_of(model).masks[f"{fqn}.weight"] = mask


def applied(key: str, kind: str, **knobs: Any) -> tuple[nn.Module, Subject]:
    """The same; a technique that says that it cannot act is allowed to, and skipped."""
    try:
        return apply(get_technique(key), kind, **knobs)
    except NotApplicableError as error:
        assert str(error)
        pytest.skip(f"{key} says about {kind}: {error}")


def same(first: nn.Module, second: nn.Module) -> bool:
    ours, theirs = model_tensors(first), model_tensors(second)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", KEYS)
def test_original_is_untouched_and_outputs_keep_their_shape(key: str, kind: str) -> None:
    untouched = subject(kind).model
    model, made = applied(key, kind)
    assert same(made.context.original, untouched)
    assert not made.context.original.training
    inputs: Tensor = made.context.calibration_inputs
    with torch.inference_mode():
        output = model(inputs)
        assert output.shape == untouched(inputs).shape
    assert torch.isfinite(output).all()
    assert made.context.report.changed, "it acted, so it has to say on what"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", KEYS)
def test_equal_seeds_give_equal_weights(key: str, kind: str) -> None:
    first, _ = applied(key, kind)
    second, _ = applied(key, kind)  # `subject` leaves the global generator in another state each time
    assert same(first, second)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", KEYS)
def test_artifact_reloads_bit_by_bit_and_claims_hold(key: str, kind: str, tmp_path: Path) -> None:
    model, _ = applied(key, kind)
    report = pack_model(model, tmp_path / "weights")
    assert report.notes == []
    loaded = copy.deepcopy(model)
    with torch.no_grad():
        for tensor in model_tensors(loaded).values():
            tensor.fill_(float("nan"))
    load_packed(loaded, unpack_model(tmp_path / "weights"))
    assert same(loaded, model)
    assert set(state_of(loaded).encodings) >= set(state_of(model).encodings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", [k for k in KEYS if knobs_of(get_technique(k).config_type)])
def test_strongest_setting_is_no_larger_than_the_baseline(key: str, kind: str, tmp_path: Path) -> None:
    technique = get_technique(key)
    sweep = knobs_of(technique.config_type)[technique.main_knob].sweep
    strongest = {} if key in QUICK or not sweep else {technique.main_knob: sweep[-1]}
    baseline = pack_model(subject(kind).model, tmp_path / "baseline").size_bytes
    model, _ = applied(key, kind, **strongest)
    # Values that only moved cost as much as before, give or take what entropy coding makes of their exponents.
    slack = 1.01 if key == "recovery" else 1.0
    assert pack_model(model, tmp_path / "strongest").size_bytes <= baseline * slack


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("key", "knobs"), DEGENERATE, ids=[d[0] for d in DEGENERATE])
def test_degenerate_settings_reproduce_the_model(key: str, knobs: dict[str, Any], kind: str) -> None:
    model, made = applied(key, kind, **knobs)
    inputs = made.context.calibration_inputs
    with torch.inference_mode():
        torch.testing.assert_close(model(inputs), made.context.original(inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key", KEYS)
def test_configs_survive_a_recipe(key: str) -> None:
    technique = get_technique(key)
    knobs = knobs_of(technique.config_type)
    values = knobs[technique.main_knob].sweep or (getattr(technique.config_type(), technique.main_knob),)
    for value in values:
        recipe = recipe_from_dict(
            {"model": "any", "dataset": "any", "steps": [{"technique": key, technique.main_knob: value}]}
        )
        again = recipe_from_yaml(recipe_to_yaml(recipe))
        assert again == recipe
        assert recipe_hash(again) == recipe_hash(recipe)
        assert {f.name for f in fields(technique.config_type)} == set(knobs)
