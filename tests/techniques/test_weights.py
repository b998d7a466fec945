"""What the techniques that change single weights promise about their values, exactly."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compression.grids import dequantize, quantize_to_grid
from compression.layers import weight_layers
from compression.state import Codebook, HalfPrecision, UniformGrid, state_of
from compression.techniques import get_technique
from tests.techniques.networks import KINDS, Subject, subject

AFTER_PRUNING: list[tuple[str, dict[str, Any]]] = [
    ("quantization", {"weight_bits": 4}), ("quantization", {"weight_bits": 2}), ("weight_sharing", {"n_clusters": 8}),
    ("weight_sharing", {"weighting": "uniform"}), ("binarization", {}), ("binarization", {"levels": "binary"}),
]


def run(key: str, made: Subject, model: nn.Module | None = None, **knobs: Any) -> nn.Module:
    """A technique on a copy of the subject's network, or on a given one."""
    technique = get_technique(key)
    chosen = copy.deepcopy(made.model) if model is None else model
    return technique.function(chosen, technique.config_type(**knobs), made.context).eval()


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {fqn: layer.weight.detach() for fqn, layer in weight_layers(model)}


def inner(model: nn.Module) -> dict[str, Tensor]:
    """Without the first and the last layer."""
    return dict(list(weights(model).items())[1:-1])


def most_values(weight: Tensor) -> int:
    """Most distinct values in any output channel."""
    return max(len(row.unique()) for row in weight.flatten(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("criterion", ["magnitude", "wanda", "sparsegpt"])
def test_pruning_reaches_the_sparsity_asked_for(criterion: str, kind: str) -> None:
    made = subject(kind)
    for sparsity in (0.3, 0.9):
        everything = weights(run("weight_pruning", made, sparsity=sparsity, criterion=criterion))
        total = sum(w.numel() for w in everything.values())
        zeros = sum(int((w == 0).sum()) for w in everything.values())
        # A weight that refitting makes exactly zero, or a tie, moves a layer by one.
        assert abs(zeros - sparsity * total) <= len(everything)
        shares = [float((w == 0).double().mean()) for w in everything.values()]
        assert max(shares) - min(shares) > 0.02, "layers of different importance should differ"


@pytest.mark.parametrize("criterion", ["magnitude", "wanda", "sparsegpt"])
def test_pruning_within_each_layer_gives_each_the_same_sparsity(criterion: str) -> None:
    model = run("weight_pruning", subject("depthwise"), sparsity=0.7, criterion=criterion, scope="layer")
    for weight in weights(model).values():
        assert abs(int((weight == 0).sum()) - 0.7 * weight.numel()) <= 1


@pytest.mark.parametrize("criterion", ["magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_pruning_again_means_the_final_sparsity(scope: str, criterion: str) -> None:
    made = subject("residual")
    knobs = {"criterion": criterion, "scope": scope}
    once = run("weight_pruning", made, sparsity=0.5, **knobs)
    gone = {fqn: weight == 0 for fqn, weight in weights(once).items()}
    twice = weights(run("weight_pruning", made, once, sparsity=0.7, **knobs))
    total = sum(w.numel() for w in twice.values())
    assert abs(sum(int((w == 0).sum()) for w in twice.values()) - 0.7 * total) <= len(twice)
    assert all((weight[gone[fqn]] == 0).all() for fqn, weight in twice.items())


def test_pruning_by_size_removes_the_smallest_weights_of_all_layers() -> None:
    made = subject("residual")
    before = torch.cat([w.flatten() for w in weights(made.model).values()]).abs()
    after = weights(run("weight_pruning", made, criterion="magnitude", sparsity=0.4))
    kept = torch.cat([w.flatten() for w in after.values()]) != 0
    assert before[kept].min() >= before[~kept].max()


def test_a_layer_that_loses_all_its_weights_is_named() -> None:
    made = subject("residual")
    model = copy.deepcopy(made.model)
    small, *others = inner(model)
    model.get_submodule(small).weight.data *= 1e-3
    run("weight_pruning", made, model, criterion="magnitude", sparsity=0.6)
    assert not model.get_submodule(small).weight.any() and all(model.get_submodule(fqn).weight.any() for fqn in others)
    assert len(told := [note for note in made.context.report.notes if note.startswith("all weights of ")]) == 1
    assert f"all weights of {small} are zero" in told[0]


@pytest.mark.parametrize("criterion", ["magnitude", "sparsegpt"])
@pytest.mark.parametrize(("pattern", "keep", "of"), [("2:4", 2, 4), ("4:8", 4, 8)])
def test_pattern_holds_in_every_whole_block(pattern: str, keep: int, of: int, criterion: str) -> None:
    for weight in weights(run("weight_pruning", subject("depthwise"), pattern=pattern, criterion=criterion)).values():
        rows = weight.flatten(1)
        whole = rows[:, : rows.shape[1] // of * of].unflatten(1, (-1, of))
        assert ((whole != 0).sum(-1) == keep).all()
        assert int((rows[:, whole[0].numel() :] != 0).sum()) >= len(rows) * min(keep, rows.shape[1] % of)


@pytest.mark.parametrize("symmetry", ["symmetric", "affine"])
@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
def test_quantized_weights_lie_on_their_grid(granularity: str, rounding: str, symmetry: str) -> None:
    made = subject("depthwise")
    knobs = {"granularity": granularity, "group_size": 16, "rounding": rounding, "symmetry": symmetry}
    models = {bits: run("quantization", made, weight_bits=bits, **knobs) for bits in (2, 4, 8)}
    for bits, model, fqn, weight in ((b, m, *item) for b, m in models.items() for item in inner(m).items()):
        grid = state_of(model).encodings[f"{fqn}.weight"]
        assert isinstance(grid, UniformGrid)
        assert grid.bits == bits
        assert symmetry == "symmetric" or grid.zero_point is not None
        assert torch.equal(dequantize(quantize_to_grid(weight, grid), grid), weight)
        assert most_values(weight) <= 2**bits * (weight[0].numel() // grid.group_size if grid.group_size else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_exact_in_16_bits(kind: str) -> None:
    model = run("quantization", subject(kind), weight_bits=16)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, parameter.half().float())
        assert isinstance(state_of(model).encodings[name], HalfPrecision)


def test_a_layer_may_have_more_bits_than_the_step() -> None:
    made = subject("residual", overrides={"blocks.0.conv1": {"weight_bits": 16}, "blocks.1": {"weight_bits": 32}})
    model = run("quantization", made, weight_bits=4)
    encodings, own = state_of(model).encodings, dict(made.model.named_parameters())
    half, whole = own["blocks.0.conv1.weight"].half().float(), own["blocks.1.conv2.weight"]
    assert isinstance(encodings["blocks.0.conv1.weight"], HalfPrecision)
    assert torch.equal(model.get_parameter("blocks.0.conv1.weight"), half)
    assert torch.equal(model.get_parameter("blocks.1.conv2.weight"), whole)
    assert made.context.report.skipped["blocks.1.conv2"] == "its weights stay at 32 bits"
    grid = encodings["blocks.0.conv2.weight"]
    assert isinstance(grid, UniformGrid) and grid.bits == 4


def test_a_layer_may_have_fewer_bits_than_a_step_of_16() -> None:
    made = subject("residual", overrides={"blocks.0.conv1": {"weight_bits": 4}})
    encodings = state_of(run("quantization", made, weight_bits=16)).encodings
    grid = encodings["blocks.0.conv1.weight"]
    assert isinstance(grid, UniformGrid) and grid.bits == 4
    assert all(isinstance(e, HalfPrecision) for name, e in encodings.items() if name != "blocks.0.conv1.weight")
    assert "bn.bias" in encodings


@pytest.mark.parametrize("weighting", ["uniform", "hessian"])
@pytest.mark.parametrize("clusters", [2, 5, 32])
def test_shared_weights_have_at_most_the_values_asked_for(clusters: int, weighting: str) -> None:
    model = run("weight_sharing", subject("residual"), n_clusters=clusters, weighting=weighting)
    for fqn, weight in inner(model).items():
        assert 2 <= len(weight.unique()) <= clusters
        codebook = state_of(model).encodings[f"{fqn}.weight"]
        assert isinstance(codebook, Codebook)
        assert torch.isin(weight, codebook.values).all()


@pytest.mark.parametrize("threshold", ["twn", "search", "feedback"])
@pytest.mark.parametrize("levels", ["binary", "ternary"])
def test_binary_and_ternary_levels_of_each_filter(levels: str, threshold: str) -> None:
    ternary = levels == "ternary"
    filters = [r for w in inner(run("binarization", subject("residual"), levels=levels, threshold=threshold)).values()
               for r in w.flatten(1)]
    for row in filters:
        assert len(row.abs()[row != 0].unique()) <= 1
        assert ternary or (row != 0).all()
    assert any((row == 0).any() for row in filters) == ternary


@pytest.mark.parametrize("kind", KINDS)
def test_pruned_weights_stay_zero(kind: str) -> None:
    made = subject(kind)
    pruned = run("weight_pruning", made, sparsity=0.7)
    before = {fqn: w == 0 for fqn, w in weights(pruned).items()}
    for key, knobs in AFTER_PRUNING:
        after = weights(run(key, made, copy.deepcopy(pruned), **knobs))
        for fqn, zero in before.items():
            assert not after[fqn][zero].any(), (key, knobs, fqn)
            assert after[fqn].any()
