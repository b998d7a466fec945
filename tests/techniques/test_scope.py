"""Which layers a step acts on and with which settings: protection, patterns, overrides, wrong values."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compression.core.errors import InputError
from compression.grids import dequantize, quantize_to_grid
from compression.layers import weight_layers
from compression.state import UniformGrid, state_of
from compression.techniques import get_technique
from tests.techniques.networks import Subject, subject

ACTING: dict[str, dict[str, Any]] = {
    "weight_pruning": {"sparsity": 0.6}, "quantization": {"weight_bits": 4}, "weight_sharing": {}, "binarization": {},
}


def run(key: str, made: Subject, model: nn.Module | None = None, **knobs: Any) -> nn.Module:
    """A technique on a copy of the subject's network, or on a given one."""
    technique = get_technique(key)
    chosen = copy.deepcopy(made.model) if model is None else model
    return technique.function(chosen, technique.config_type(**knobs), made.context).eval()


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {fqn: layer.weight.detach() for fqn, layer in weight_layers(model)}


def most_values(weight: Tensor) -> int:
    """Most distinct values in any output channel."""
    return max(len(row.unique()) for row in weight.flatten(1))


@pytest.mark.parametrize(
    ("key", "knobs", "most", "least"),
    [("quantization", {"weight_bits": 2}, 256, 5), ("weight_sharing", {"n_clusters": 4}, 64, 5),
     ("binarization", {"levels": "binary"}, 256, 5)],
)
def test_first_and_last_layer_are_protected(key: str, knobs: dict[str, Any], most: int, least: int) -> None:
    made = subject("residual")
    ends = [list(weights(run(key, made, **knobs)).values())[i] for i in (0, -1)]
    assert all(least <= len(w.unique()) and most_values(w) <= most for w in ends)
    bare = [list(weights(run(key, made, **knobs, protect_first_last=False)).values())[i] for i in (0, -1)]
    assert all(most_values(w) <= 4 for w in bare)


@pytest.mark.parametrize("key", ACTING)
def test_include_and_exclude_are_respected(key: str) -> None:
    before = weights(subject("residual").model)
    only = subject("residual", include=("blocks.1",), exclude=(r"blocks\.\d\.conv2",))
    after = weights(run(key, only, **ACTING[key]))
    assert [fqn for fqn in before if not torch.equal(before[fqn], after[fqn])] == ["blocks.1.conv1"]
    assert set(only.context.report.skipped) == set(before) - {"blocks.1.conv1"}


@pytest.mark.parametrize("bits", [4, 16])
def test_quantization_leaves_excluded_modules_alone(bits: int) -> None:
    for changes in ({"exclude": ("embedding", "blocks.0", "norm")}, {"include": ("blocks.1", "head")}):
        made = subject("gpt", **changes)
        after = run("quantization", made, weight_bits=bits)
        for fqn in ("embedding", "blocks.0", "norm"):
            tensors = made.model.get_submodule(fqn).state_dict()
            assert all(torch.equal(t, after.get_submodule(fqn).state_dict()[n]) for n, t in tensors.items())
        assert not any(n.startswith(("embedding", "blocks.0", "norm")) for n in state_of(after).encodings)
        assert "blocks.1.fc1.weight" in state_of(after).encodings


def test_a_tied_embedding_stays_on_the_grid_of_its_layer() -> None:
    made = subject("gpt", overrides={"head": {"weight_bits": 4}})
    model = copy.deepcopy(made.model)
    model.embedding.weight = model.head.weight
    run("quantization", made, model, weight_bits=8)
    assert model.embedding.weight is model.head.weight
    grid = state_of(model).encodings["head.weight"]
    assert isinstance(grid, UniformGrid)
    assert grid.bits == 4
    assert torch.equal(dequantize(quantize_to_grid(model.head.weight, grid), grid), model.head.weight)


@pytest.mark.parametrize(
    ("key", "values", "limit"),
    [("quantization", {"weight_bits": 3}, 8), ("weight_sharing", {"n_clusters": 7}, 7),
     ("binarization", {"levels": "binary"}, 2)],
)
def test_overrides_win_over_the_step_and_over_protection(key: str, values: dict[str, Any], limit: int) -> None:
    made = subject("residual", overrides={"stem": values, r"blocks\.0\..*": values})
    mild = {"quantization": {"weight_bits": 8}, "weight_sharing": {"n_clusters": 200}, "binarization": {}}[key]
    after = weights(run(key, made, **mild))
    for fqn, weight in after.items():
        assert (most_values(weight) <= limit) == (fqn == "stem" or fqn.startswith("blocks.0.")), fqn


def test_an_override_of_sparsity_is_that_of_the_layer() -> None:
    after = weights(run("weight_pruning", subject("residual", overrides={"blocks.1": {"sparsity": 0.0}})))
    zeros = {fqn: int((w == 0).sum()) for fqn, w in after.items()}
    assert not any(count for fqn, count in zeros.items() if fqn.startswith("blocks.1"))
    rest = [fqn for fqn in zeros if not fqn.startswith("blocks.1")]
    assert abs(sum(zeros[f] for f in rest) - 0.5 * sum(after[f].numel() for f in rest)) <= len(rest)
    unknown = subject("residual", overrides={"stem": {"bits": 4}})
    with pytest.raises(InputError, match=r"overrides\.bits: 4 is not allowed; allowed knobs: sparsity"):
        run("weight_pruning", unknown)


@pytest.mark.parametrize(
    ("key", "field", "value", "allowed"),
    [
        ("weight_pruning", "sparsity", 1.5, "allowed: a number from 0.0 to 0.99"),
        ("weight_pruning", "sparsity", float("nan"), "allowed: a number from 0.0 to 0.99"),
        ("weight_pruning", "pattern", "3:4", "allowed: none, 2:4, 4:8"),
        ("quantization", "weight_bits", 9, "allowed: 2, 3, 4, 5, 6, 7, 8, 16, 32"),
        ("quantization", "group_size", 8.5, "allowed: a whole number from 8 to 512"),
        ("weight_sharing", "n_clusters", 1, "allowed: a whole number from 2 to 256"),
        ("weight_sharing", "n_clusters", True, "allowed: a whole number from 2 to 256"),
        ("binarization", "levels", "quaternary", "allowed: ternary, binary"),
        ("binarization", "protect_first_last", 1, "allowed: true or false"),
        ("low_rank", "rank_ratio", 0, "allowed: a number from 0.05 to 1.0"),
        ("channel_pruning", "round_to", 3, "allowed: 1, 4, 8, 16"),
    ],
)
def test_wrong_knobs_are_told_with_field_value_and_what_is_allowed(
    key: str, field: str, value: object, allowed: str
) -> None:
    with pytest.raises(InputError) as told:
        get_technique(key).config_type(**{field: value})
    assert (told.value.field, told.value.allowed) == (f"{key}.{field}", allowed)
    assert str(told.value) == f"{key}.{field}: {value!r} is not allowed; {allowed}"


def test_activations_of_fewer_bits_than_weights_are_refused() -> None:
    with pytest.raises(InputError, match=r"quantization\.weight_bits: 16 is not allowed; with 8-bit activations"):
        get_technique("quantization").config_type(weight_bits=16, activation_bits=8)


def test_affine_weights_on_int8_kernels_are_refused() -> None:
    with pytest.raises(InputError, match=r"quantization\.symmetry: 'affine' is not allowed; .* only symmetric"):
        get_technique("quantization").config_type(weight_bits=8, activation_bits=8, symmetry="affine")
    get_technique("quantization").config_type(weight_bits=4, activation_bits=8, symmetry="affine")
