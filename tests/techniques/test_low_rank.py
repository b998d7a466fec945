"""Layers that are split where it saves weights, under one budget."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from compression.calibration.hessian import damped, original_hessians
from compression.core.errors import InputError, NotApplicableError
from compression.layers import weight_layers
from compression.metrics.macs import count_macs
from compression.structure.factorized import TuckerConv2d, factorized_layers, merged_copy
from compression.techniques import get_technique
from tests.techniques.networks import KINDS, Subject, subject


def split(made: Subject, **knobs: Any) -> nn.Module:
    technique = get_technique("low_rank")
    return technique.function(copy.deepcopy(made.model), technique.config_type(**knobs), made.context).eval()


def sizes(model: nn.Module) -> dict[str, int]:
    """Weights of each layer of the original structure."""
    parts = factorized_layers(model)
    whole = {fqn: sum(m.weight.numel() for m in part) for fqn, part in parts.items()}
    inside = tuple(f"{fqn}." for fqn in parts)
    return whole | {fqn: m.weight.numel() for fqn, m in weight_layers(model) if not fqn.startswith(inside or "/")}


@pytest.mark.parametrize("method", ["whitened", "tucker", "best"])
@pytest.mark.parametrize("allocation", ["uniform", "dynamic"])
@pytest.mark.parametrize("ratio", [0.9, 0.75])
@pytest.mark.parametrize("kind", ["residual", "vision_transformer", "gpt"])
def test_weights_stay_within_the_budget(kind: str, ratio: float, allocation: str, method: str) -> None:
    made = subject(kind)
    before, model = sizes(made.model), split(made, rank_ratio=ratio, allocation=allocation, method=method)
    after = sizes(model)
    report = made.context.report
    splittable = [f for f in before if not report.skipped.get(f, "").startswith(("too small", "a grouped"))]
    assert report.changed
    assert sum(after[f] for f in splittable) <= ratio * sum(before[f] for f in splittable)
    assert sorted(factorized_layers(model)) == sorted(report.changed)
    assert all(after[f] < before[f] for f in report.changed)
    inputs = made.context.calibration_inputs
    assert torch.isfinite(model(inputs)).all()
    assert count_macs(model, inputs).total < count_macs(made.model, inputs).total


@pytest.mark.parametrize("kind", KINDS)
def test_layers_that_would_grow_are_left_alone_and_reported(kind: str) -> None:
    made = subject(kind)
    model = split(made, rank_ratio=0.6)
    after = dict(weight_layers(model))
    for fqn, layer in weight_layers(made.model):
        outputs, inputs = len(layer.weight), layer.weight[0].numel()
        if getattr(layer, "groups", 1) > 1:
            assert made.context.report.skipped[fqn] == "a grouped convolution is not split"
        elif 4 * (outputs + inputs) >= outputs * inputs:
            assert made.context.report.skipped[fqn] == "too small: the factors would be larger than the layer"
        if fqn in made.context.report.skipped:
            assert torch.equal(after[fqn].weight, layer.weight)
        else:
            assert fqn in made.context.report.changed


def test_no_layer_to_split_is_told() -> None:
    with pytest.raises(NotApplicableError, match="no layer is large enough"):
        split(subject("residual", include=("classifier",)))


def test_more_weights_lose_less_output() -> None:
    made = subject("residual")
    inputs = made.context.calibration_inputs
    wanted = made.model(inputs)
    with torch.inference_mode():
        outputs = [split(made, rank_ratio=r)(inputs) for r in (0.95, 0.6, 0.3)]
    errors = [float((output - wanted).square().mean()) for output in outputs]
    assert errors == sorted(errors)
    assert errors[0] > 0


@pytest.mark.parametrize("kind", ["residual", "vision_transformer"])
def test_whitening_beats_plain_decomposition_at_the_first_split_layers_output(kind: str) -> None:
    made = subject(kind)
    fqn = "blocks.0.conv1" if kind == "residual" else "blocks.0.fc1"
    seen: list[torch.Tensor] = []
    layer = made.model.get_submodule(fqn)
    handle = layer.register_forward_hook(lambda m, args, out: seen.extend((args[0].clone(), out.clone())))
    made.model(made.context.calibration_inputs)
    handle.remove()
    losses = []
    made.context.include = (fqn,)
    for method in ("whitened", "svd"):
        part = split(made, rank_ratio=0.5, method=method).get_submodule(fqn).requires_grad_(False)
        losses.append(float((part(seen[0]) - seen[1]).square().sum()))
    assert losses[0] < losses[1]


def test_merged_copy_has_the_shapes_of_the_original() -> None:
    made = subject("residual")
    model = split(made, rank_ratio=0.5)
    merged = merged_copy(model)
    assert {n: p.shape for n, p in merged.named_parameters()} == {n: p.shape for n, p in made.model.named_parameters()}
    assert factorized_layers(model), "the model itself keeps its split layers"


@torch.no_grad()
@pytest.mark.parametrize("method", ["whitened", "tucker", "best"])
def test_by_energy_every_split_layer_keeps_its_share(method: str) -> None:
    made = subject("residual")
    model = split(made, allocation="energy", energy=0.9, method=method)
    hessians = original_hessians(made.context)
    parts = factorized_layers(model)
    assert parts
    for fqn, part in parts.items():
        layer, hessian = made.model.get_submodule(fqn), damped(hessians[fqn])
        shape = (1, layer.in_channels, *layer.kernel_size)
        eye = torch.eye(layer.weight[0].numel()).reshape(-1, *shape[1:])
        flat = copy.deepcopy(part)
        for module in flat:
            module.padding = 0
        rows = flat(eye).flatten(1).t().double()  # what it makes of each single input: its weight
        wanted = layer.weight.flatten(1).double()
        lost, whole = (float(((w @ hessian) * w).sum()) for w in (rows - wanted, wanted))
        assert lost <= 0.1 * whole * (1 + 1e-3), fqn


def test_all_energy_leaves_every_layer_whole() -> None:
    made = subject("residual")
    model = split(made, allocation="energy", energy=1.0)
    assert not factorized_layers(model)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in made.model.state_dict().items())


def test_the_report_lists_the_ranks() -> None:
    made = subject("residual")
    parts = factorized_layers(split(made, rank_ratio=0.5, method="tucker"))
    (line,) = [note for note in made.context.report.notes if note.startswith("ranks: ")]
    for fqn, part in parts.items():
        assert f"{fqn} {part[0].out_channels} and {part[1].out_channels}" in line


def test_a_layer_is_not_split_twice() -> None:
    made = subject("residual")
    once = split(made, rank_ratio=0.7)
    parts = factorized_layers(once)
    first = {fqn: type(part) for fqn, part in parts.items()}
    technique = get_technique("low_rank")
    twice = technique.function(once, technique.config_type(rank_ratio=0.3), made.context)
    assert {fqn: type(part) for fqn, part in factorized_layers(twice).items() if fqn in first} == first
    assert not [fqn for fqn in factorized_layers(twice) if fqn.startswith(tuple(f"{own}." for own in first))]
    assert "part of a layer that was split before" in made.context.report.skipped.values()


@torch.no_grad()
def lost_energy(made: Subject, fqn: str, parts: nn.Sequential) -> float:
    """Share of a layer's output energy that its parts lose, from their product and the Hessian of its inputs."""
    hessian = damped(original_hessians(made.context)[fqn])
    product = parts[-1].weight.double().flatten(1) @ parts[-2].weight.double().flatten(1)
    if len(parts) == 3:
        inner = parts[1].weight.flatten(2)
        core = product.unflatten(1, inner.shape[1:])
        product = torch.einsum("ork,rc->ock", core, parts[0].weight.double().flatten(1)).flatten(1)
    flat = made.model.get_submodule(fqn).weight.double().flatten(1)
    change = product - flat
    return float(((change @ hessian) * change).sum() / ((flat @ hessian) * flat).sum())


def test_tucker_loses_less_output_than_two_factors_of_as_many_weights() -> None:
    made = subject("residual", include=("blocks",))
    whole = sizes(made.model)
    lost = {}
    for method in ("whitened", "tucker"):
        parts = factorized_layers(split(made, rank_ratio=0.6, allocation="uniform", method=method))
        assert all(sum(p.weight.numel() for p in part) <= 0.6 * whole[fqn] for fqn, part in parts.items())
        lost[method] = {fqn: lost_energy(made, fqn, part) for fqn, part in parts.items()}
    assert len(lost["tucker"]) == len(lost["whitened"]) == 6
    assert sum(lost["tucker"].values()) < sum(lost["whitened"].values())


@pytest.mark.parametrize("pattern", ["blocks.1", r"blocks\.1\.(conv\d|fc\d|attention\..*)"])
@pytest.mark.parametrize("allocation", ["uniform", "dynamic"])
@pytest.mark.parametrize("kind", ["residual", "vision_transformer"])
def test_a_layers_own_ratio_is_met_by_it_and_is_no_part_of_the_common_budget(
    kind: str, allocation: str, pattern: str
) -> None:
    made = subject(kind, include=("blocks",), overrides={pattern: {"rank_ratio": 0.5}})
    before, after = sizes(made.model), sizes(split(made, rank_ratio=0.9, allocation=allocation))
    own = [fqn for fqn in before if fqn.startswith("blocks.1.")]
    assert all(0 < after[fqn] <= 0.5 * before[fqn] for fqn in own), "each meets its own, whatever the others save"
    rest = [fqn for fqn in before if fqn.startswith("blocks.") and fqn not in own]
    left = sum(after[fqn] for fqn in rest) / sum(before[fqn] for fqn in rest)
    assert 0.5 < left <= 0.9
    plain = sizes(split(subject(kind, include=("blocks",), exclude=(pattern,)), rank_ratio=0.9, allocation=allocation))
    assert {fqn: after[fqn] for fqn in rest} == {fqn: plain[fqn] for fqn in rest}


def test_only_layers_with_a_ratio_of_their_own_are_split_where_the_step_keeps_all() -> None:
    made = subject("residual", overrides={"blocks.1.conv1": {"rank_ratio": 0.5}})
    assert list(factorized_layers(split(made, rank_ratio=1.0))) == ["blocks.1.conv1"]
    assert made.context.report.changed == ["blocks.1.conv1"]
    assert made.context.report.skipped["blocks.0.conv1"] == "all its weights are to be kept"


def test_layers_that_keep_all_by_an_override_stay_whole() -> None:
    made = subject("residual", overrides={"blocks.1": {"rank_ratio": 1.0}})
    assert not [fqn for fqn in factorized_layers(split(made, rank_ratio=0.5)) if fqn.startswith("blocks.1")]
    assert made.context.report.skipped["blocks.1.conv2"] == "all its weights are to be kept"
    made = subject("residual", overrides={".*": {"rank_ratio": 1.0}})
    untouched = split(made, rank_ratio=0.5)
    assert all(torch.equal(untouched.state_dict()[n], value) for n, value in made.model.state_dict().items())
    assert set(made.context.report.skipped.values()) == {"all its weights are to be kept"}


def test_a_layer_can_have_a_method_and_a_share_of_energy_of_its_own() -> None:
    made = subject(
        "residual", include=("blocks",),
        overrides={"blocks.0": {"method": "tucker"}, "blocks.2": {"allocation": "energy", "energy": 0.8}},
    )
    parts = factorized_layers(split(made, rank_ratio=0.5, method="whitened", allocation="uniform"))
    assert len(parts) == 6
    tucker = {fqn for fqn, part in parts.items() if isinstance(part, TuckerConv2d)}
    assert tucker == {"blocks.0.conv1", "blocks.0.conv2"}
    for fqn in ("blocks.2.conv1", "blocks.2.conv2"):
        assert 0.02 < lost_energy(made, fqn, parts[fqn]) <= 0.2 * (1 + 1e-3)


def test_an_override_of_an_unknown_knob_or_value_is_told() -> None:
    with pytest.raises(InputError, match=r"overrides\.rank: 4 is not allowed; allowed knobs: rank_ratio"):
        split(subject("residual", overrides={"blocks.0": {"rank": 4}}))
    with pytest.raises(InputError, match=r"low_rank\.rank_ratio: 2 is not allowed"):
        split(subject("residual", overrides={"blocks.0": {"rank_ratio": 2}}))
