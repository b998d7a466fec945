"""Channels, neurons and heads that are really gone, and consumers that make up for them."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compression.artifact.packing import model_tensors
from compression.calibration.hessian import original_hessians
from compression.core.errors import CancelledError, InputError, NotApplicableError
from compression.metrics.macs import count_macs, count_parameters
from compression.solvers.reconstruction import output_error
from compression.state import state_of
from compression.structure import find_groups
from compression.techniques import channel_pruning, get_technique
from tests.techniques.networks import KINDS, Subject, subject


def prune(made: Subject, **knobs: Any) -> nn.Module:
    """Prune; by default the same fraction of each group, so that counts are known."""
    technique = get_technique("channel_pruning")
    knobs = {"scope": "layer", **knobs}
    return technique.function(copy.deepcopy(made.model), technique.config_type(**knobs), made.context).eval()


def lost(original: nn.Module, pruned: nn.Module, fqn: str, rows: Tensor, hessian: Tensor) -> Tensor:
    """Squared output error of a consumer on the original's inputs, of which it now reads only some."""
    before, after = original.get_submodule(fqn).weight, pruned.get_submodule(fqn).weight
    change = -before.clone()
    change[:, rows] += after
    return output_error(change.flatten(1), hessian)


def network_error(made: Subject, model: nn.Module) -> float:
    inputs = made.context.calibration_inputs
    return float((model(inputs) - made.model(inputs)).square().mean())


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_half_of_the_units_are_gone(kind: str, coupled: bool) -> None:
    made = subject(kind)
    model = prune(made, pruning_ratio=0.5, coupled=coupled)
    inputs = made.context.calibration_inputs
    assert torch.isfinite(model(inputs)).all()
    assert model(inputs).shape == made.model(inputs).shape
    assert count_parameters(model)[0] < count_parameters(made.model)[0]
    before, after = count_macs(made.model, inputs), count_macs(model, inputs)
    assert after.total < 0.75 * before.total
    for fqn in made.context.report.changed:
        old, new = made.model.get_submodule(fqn).weight, model.get_submodule(fqn).weight
        assert len(new) == len(old) // 2
        assert after.by_layer[fqn] <= before.by_layer[fqn] / 2
    if kind != "gpt":
        assert len(model.stem.weight) == (8 if coupled and kind != "vision_transformer" else 16)
    assert any("removed" in note for note in made.context.report.notes)


@pytest.mark.parametrize(
    ("ratio", "round_to", "left"), [(0.3, 8, 8), (0.2, 8, 16), (0.3, 4, 12), (0.3, 1, 11), (0.95, 1, 1), (0.95, 4, 4)]
)
def test_counts_are_rounded_to_the_multiple_asked_for(ratio: float, round_to: int, left: int) -> None:
    made = subject("residual")
    model = prune(made, pruning_ratio=ratio, round_to=round_to)
    assert {len(block.conv1.weight) for block in model.blocks} == {left}
    assert {block.bn1.num_features for block in model.blocks} == {left}
    if left == 16:
        assert "all 16 units stay: the nearest multiple of 8" in made.context.report.skipped.values()


@pytest.mark.parametrize("width", [10, 20])
def test_nothing_asked_for_removes_nothing(width: int) -> None:
    model = nn.Sequential(
        nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, 5),
    ).eval().requires_grad_(False)
    context = subject("residual", original=model, model_key=f"width {width}", protected=("0", "5")).context
    pruned = prune(Subject(model, context), pruning_ratio=0.0)
    assert all(torch.equal(t, model_tensors(model)[n]) for n, t in model_tensors(pruned).items())


@pytest.mark.parametrize("criterion", ["l1", "l2", "taylor", "output", "obs"])
@pytest.mark.parametrize("kind", KINDS)
def test_reconstruction_lowers_the_output_error_of_every_consumer(kind: str, criterion: str) -> None:
    made = subject(kind)
    models = [prune(made, pruning_ratio=0.5, criterion=criterion, reconstruct=on) for on in (True, False)]
    hessians = original_hessians(made.context)
    context = made.context
    groups, _ = find_groups(made.model, context.example_input, context.model_key, context.protected[-1:])
    for group in (g for g in groups if not g.coupled):
        rows = state_of(models[0]).kept[group.name]
        for fqn in group.consumers():
            errors = [float(lost(made.model, model, fqn, rows, hessians[fqn]).sum()) for model in models]
            assert errors[0] < 0.98 * errors[1]


@pytest.mark.parametrize("kind", ["vision_transformer", "gpt"])  # with batch norms the corrected statistics differ too
def test_reconstruction_lowers_the_networks_output_error(kind: str) -> None:
    made = subject(kind)
    errors = [network_error(made, prune(made, pruning_ratio=0.5, reconstruct=on)) for on in (True, False)]
    assert errors[0] < errors[1]


@pytest.mark.parametrize(("criterion", "gone"), [("l1", 0), ("l2", 1), ("output", 2), ("taylor", 2)])
def test_criterion_removes_the_unit_it_ranks_lowest(criterion: str, gone: int) -> None:
    made = subject("vision_transformer", model_key=f"ranked by {criterion}")
    fc1, fc2 = made.model.blocks[0].fc1, made.model.blocks[0].fc2
    fc1.weight[:] = 1.0
    fc2.weight[:] = 1.0
    fc1.weight[0] = 0.0
    fc1.weight[0, 0] = 14.0  # L1 14, L2 14; the others 16 and 4
    fc1.weight[1] = 0.95  # L1 15.2, L2 3.8
    fc1.weight[2, 1:] = 1.01
    fc1.bias[2] = -300.0  # never active
    model = prune(made, pruning_ratio=0.05, criterion=criterion, round_to=1)
    kept = state_of(model).kept["blocks.0.fc1"].tolist()
    assert len(kept) == 30
    assert gone not in kept
    assert (2 in kept) == (criterion in ("l1", "l2"))


def test_dead_neurons_go_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    made = subject("gpt", model_key="half dead")
    monkeypatch.setattr(channel_pruning, "finish_step", lambda *_: None)  # heads go too, with a trace
    for block in made.model.blocks:
        block.fc2.weight[:, ::2] = 0
        block.fc1.weight[::2] = 0
    model = prune(made, pruning_ratio=0.5, reconstruct=False)
    for i, block in enumerate(model.blocks):
        assert state_of(model).kept[f"blocks.{i}.fc1"].tolist() == list(range(1, 32, 2))
        assert block.attention.query.weight.shape == (8, 16)  # one head of two
    whole = copy.deepcopy(made.model)
    for i, block in enumerate(whole.blocks):
        block.attention = copy.deepcopy(model.blocks[i].attention)
        block.fc1.bias[1::2], block.fc2.bias = model.blocks[i].fc1.bias, model.blocks[i].fc2.bias  # were corrected
    torch.testing.assert_close(
        model(made.context.calibration_inputs), whole(made.context.calibration_inputs), rtol=1e-4, atol=1e-4
    )


def test_include_exclude_and_overrides() -> None:
    made = subject("residual", include=("blocks",), exclude=("blocks.2",), overrides={"blocks.0": {"pruning_ratio": 0}})
    model = prune(made, pruning_ratio=0.5)
    assert [len(block.conv1.weight) for block in model.blocks] == [16, 8, 16]
    assert made.context.report.changed == ["blocks.1.conv1"]
    assert made.context.report.skipped["blocks.2.conv1"] == "excluded by the step"
    with pytest.raises(NotApplicableError, match="no channels, neurons or heads"):
        prune(subject("residual", include=("classifier",)))


@pytest.mark.parametrize(
    ("kind", "scope", "layer", "group"),
    [
        ("residual", "layer", "blocks.1.conv1", "blocks.1.conv1"),
        ("residual", "global", r"blocks\.1\.conv\d", "blocks.1.conv1"),
        ("depthwise", "global", "blocks.1.expand", "blocks.1.expand.0"),
        ("vision_transformer", "layer", "blocks.1.attention.query", "blocks.1.attention.query"),
        ("vision_transformer", "global", "blocks.1.attention.key", "blocks.1.attention.query"),
        ("gpt", "layer", "blocks.1.attention.value", "blocks.1.attention.query"),
    ],
)
def test_an_override_of_any_layer_that_makes_a_groups_channels_is_the_groups(
    kind: str, scope: str, layer: str, group: str
) -> None:
    made = subject(kind, overrides={layer: {"pruning_ratio": 0.5}})
    model = prune(made, pruning_ratio=0.0, scope=scope)
    assert list(state_of(model).kept) and made.context.report.changed[0] == group
    groups, _ = find_groups(made.model, made.context.example_input, made.context.model_key, ("classifier", "head"))
    (own,) = [g for g in groups if g.name == group]
    assert made.context.report.changed == own.producers()
    for fqn in own.producers():
        assert len(model.get_submodule(fqn).weight) == len(made.model.get_submodule(fqn).weight) // 2
    spared = subject(kind, overrides={layer: {"pruning_ratio": 0.0}})
    prune(spared, pruning_ratio=0.5, scope=scope)
    assert spared.context.report.changed and group not in spared.context.report.changed


@pytest.mark.parametrize("layer", ["stem", "blocks.0.conv2", "blocks.2.conv2"])
def test_channels_shared_through_additions_heed_an_override_of_any_of_their_layers(layer: str) -> None:
    made = subject("residual", overrides={layer: {"pruning_ratio": 0.0}})
    spared = prune(made, pruning_ratio=0.5, coupled=True)
    assert {len(spared.get_submodule(f).weight) for f in ("stem", "blocks.0.conv2", "blocks.2.conv2")} == {16}
    assert {len(block.conv1.weight) for block in spared.blocks} == {8}
    made = subject("residual", overrides={layer: {"coupled": True}})
    pruned = prune(made, pruning_ratio=0.5)
    assert {len(pruned.get_submodule(f).weight) for f in ("stem", "blocks.0.conv2", "blocks.2.conv2")} == {8}


def test_a_layers_own_ratio_is_no_part_of_the_common_budget() -> None:
    made = subject("residual", overrides={"blocks.0": {"pruning_ratio": 0.75, "round_to": 4}})
    model = prune(made, pruning_ratio=0.25, scope="global", round_to=4)
    left = [len(block.conv1.weight) for block in model.blocks]
    assert left[0] == 4
    assert sum(left[1:]) == 24, "a quarter of the 32 channels of the other two"


def test_an_override_of_an_unknown_knob_or_value_is_told() -> None:
    with pytest.raises(InputError, match=r"overrides\.ratio: 0\.5 is not allowed; allowed knobs: pruning_ratio"):
        prune(subject("residual", overrides={"blocks.0": {"ratio": 0.5}}))
    with pytest.raises(InputError, match=r"channel_pruning\.pruning_ratio: 1\.5 is not allowed"):
        prune(subject("residual", overrides={"blocks.0": {"pruning_ratio": 1.5}}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_ratio_of_all_units_is_met_over_all_groups(kind: str) -> None:
    made = subject(kind)
    model = prune(made, pruning_ratio=0.5, scope="global", round_to=1)
    context = made.context
    groups, _ = find_groups(made.model, context.example_input, context.model_key, context.protected[-1:])
    own = [g for g in groups if not g.coupled]
    left = sum(len(state_of(model).kept.get(g.name, range(g.units * g.width))) / g.width for g in own)
    assert left == pytest.approx(0.5 * sum(g.units for g in own), abs=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.1, 0.2])
def test_a_ratio_of_the_multiply_accumulates_is_met(kind: str, ratio: float) -> None:
    made = subject(kind)
    model = prune(made, pruning_ratio=ratio, scope="global", target="macs", round_to=1)
    inputs = made.context.calibration_inputs
    left = count_macs(model, inputs).total / count_macs(made.model, inputs).total
    assert 1 - ratio - 0.15 < left <= 1 - ratio + 0.01, "a head of two is a coarse step"


def test_units_go_where_they_are_needed_least() -> None:
    """A block whose output hardly depends on its neurons loses them; the other keeps its own."""
    made = subject("vision_transformer", model_key="one idle block")
    made.model.blocks[0].fc2.weight[:, 4:] *= 1e-4
    model = prune(made, pruning_ratio=0.4, scope="global", round_to=1)
    idle, busy = (len(block.fc1.weight) for block in model.blocks)
    assert idle <= 8 < 24 <= busy


def test_progress_grows_through_all_phases_and_looks_for_a_cancel() -> None:
    made, seen = subject("residual"), []
    made.context.model_key = "watched"  # nothing is remembered
    made.context.progress = lambda fraction, message: seen.append((fraction, message))
    prune(made, pruning_ratio=0.5)
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0 and 0.95 < fractions[-1] <= 1.0
    words = ("structure", "statistics", "order of removal", "removal of units", "correction")
    counts = {word: sum(message.startswith(word) or word in message for _, message in seen) for word in words}
    assert counts["structure"] == 1 and counts["statistics"] >= 1
    assert all(counts[word] > 1 for word in words[2:])


@pytest.mark.parametrize("phase", ["statistics", "order of removal", "removal of units", "correction"])
def test_a_cancel_stops_in_every_phase(phase: str) -> None:
    made, after = subject("residual"), []
    made.context.model_key = f"cancelled in {phase}"
    made.context.progress = lambda _, message: after.append(message) if phase in message or after else None
    made.context.cancelled = lambda: bool(after)
    with pytest.raises(CancelledError):
        prune(made, pruning_ratio=0.5)
    assert len(after) == 1
