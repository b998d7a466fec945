"""Groups of units and their removal."""

import copy

import pytest
import torch
from torch import Tensor, nn

from compression.metrics.macs import count_macs
from compression.solvers.grids import choose_grid
from compression.state import Codebook, state_of
from compression.structure import ChannelGroup, find_groups, remove_units
from compression.structure.importance import unit_order
from tests.techniques.networks import KINDS, Subject, subject


def groups_of(made: Subject) -> list[ChannelGroup]:
    context = made.context
    return find_groups(made.model, context.example_input, context.model_key, context.protected[-1:])[0]


def silence(model: nn.Module, group: ChannelGroup, rows: Tensor) -> None:
    """Make what the consumers read of some channels zero: the same as removing them."""
    for fqn in group.consumers():
        model.get_submodule(fqn).weight.data[:, rows] = 0


def channels(group: ChannelGroup, units: Tensor) -> Tensor:
    return (units[:, None] * group.width + torch.arange(group.width)).flatten()


@pytest.mark.parametrize("kind", KINDS)
def test_groups_name_every_member_with_its_channels(kind: str) -> None:
    made = subject(kind)
    groups = groups_of(made)
    assert groups
    for group in groups:
        assert group.producers()
        assert group.consumers()
        for member in group.members:
            weight = made.model.get_submodule(member.fqn).weight
            assert weight.shape[1 if member.role == "in" else 0] == group.units * group.width
            assert (member.role == "depthwise") == member.fqn.endswith("depthwise.0")
    assert made.context.protected[-1] not in {fqn for g in groups for fqn in g.producers()}


@pytest.mark.parametrize(
    ("kind", "kinds", "coupled"),
    [("residual", ["channel"] * 4, 1), ("depthwise", ["channel"] * 4, 1),
     ("vision_transformer", ["head", "head", "neuron", "neuron"], 0), ("gpt", ["head", "head", "neuron", "neuron"], 0)],
)
def test_all_groups_are_found(kind: str, kinds: list[str], coupled: int) -> None:
    groups = groups_of(subject(kind))
    assert sorted(g.kind for g in groups) == kinds
    assert sum(g.coupled for g in groups) == coupled
    for group in groups:
        assert group.width == (8 if group.kind == "head" else 1)
        assert group.coupled == (len(group.producers()) > 1 and group.kind != "head")


@pytest.mark.parametrize("kind", KINDS)
def test_removal_equals_silencing_and_lowers_the_macs(kind: str) -> None:
    made = subject(kind)
    inputs = made.context.calibration_inputs
    before = count_macs(made.model, inputs).total
    for group in groups_of(made):
        keep = torch.arange(1, group.units, 2)
        cut, quiet = copy.deepcopy(made.model), copy.deepcopy(made.model)
        remove_units(cut, group, keep)
        gone = channels(group, torch.arange(0, group.units, 2))
        silence(quiet, group, gone)
        if group.coupled:  # the stream itself becomes narrower; its zeros do not change its sums
            assert torch.isfinite(cut(inputs)).all()
        torch.testing.assert_close(cut(inputs), quiet(inputs), rtol=1e-4, atol=1e-4)
        assert count_macs(cut, inputs).total < before


@pytest.mark.parametrize("kind", KINDS)
def test_modules_and_state_tell_their_new_sizes(kind: str) -> None:
    made = subject(kind)
    for group in groups_of(made):
        model, keep = copy.deepcopy(made.model), torch.arange(0, group.units, 2)
        remove_units(model, group, keep)
        rows = channels(group, keep)
        for member in group.members:
            module = model.get_submodule(member.fqn)
            if isinstance(module, nn.Linear):
                assert module.weight.shape == (module.out_features, module.in_features)
            elif isinstance(module, nn.Conv2d):
                per_group = module.in_channels // module.groups
                assert module.weight.shape[:2] == (module.out_channels, per_group)
            else:
                assert module.num_features == len(module.weight) == len(module.running_var) == len(rows)
            if member.role != "in":
                assert torch.equal(state_of(model).kept[member.fqn], rows)


def test_kept_channels_are_those_of_the_original_after_a_second_removal() -> None:
    made = subject("residual")
    model = copy.deepcopy(made.model)
    group = next(g for g in groups_of(made) if not g.coupled)
    remove_units(model, group, torch.tensor([1, 3, 5, 7, 9]))
    smaller = ChannelGroup(group.name, 5, 1, group.members, "channel")
    remove_units(model, smaller, torch.tensor([0, 4]))
    assert state_of(model).kept[group.name].tolist() == [1, 9]
    torch.testing.assert_close(
        model.get_submodule(group.name).weight, made.model.get_submodule(group.name).weight[[1, 9]]
    )


def test_masks_and_scales_lose_the_same_channels() -> None:
    made = subject("depthwise")
    group = next(g for g in groups_of(made) if not g.coupled)
    model, keep = copy.deepcopy(made.model), torch.tensor([0, 5, 31])
    state, producer, consumer = state_of(model), f"{group.producers()[0]}.weight", f"{group.consumers()[0]}.weight"
    before = {name: model.get_parameter(name) for name in (producer, consumer)}
    for name, weight in before.items():
        state.masks[name] = weight > 0
    first, second = choose_grid(before[producer], 3), choose_grid(before[consumer], 4, "group", 8)
    state.encodings.update({producer: first, consumer: second})
    depthwise = next(m.fqn for m in group.members if m.role == "depthwise")
    state.encodings[f"{depthwise}.weight"] = Codebook(torch.tensor([-1.0, 1.0]), torch.arange(32.0))
    scale, zero = first.scale[keep], first.zero_point[keep]
    remove_units(model, group, keep)
    assert torch.equal(state.masks[producer], before[producer][keep] > 0)
    assert torch.equal(state.masks[consumer], before[consumer][:, keep] > 0)
    assert torch.equal(state.encodings[producer].scale, scale)
    assert torch.equal(state.encodings[producer].zero_point, zero)
    assert consumer not in state.encodings, "groups of inputs no longer lie side by side"
    assert state.encodings[f"{depthwise}.weight"].scale.tolist() == [0.0, 5.0, 31.0]


def test_what_cannot_be_removed_is_told() -> None:
    grouped = nn.Sequential(
        nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 3, groups=2), nn.Conv2d(16, 4, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    ).eval()
    groups, reasons = find_groups(grouped, torch.randn(1, 3, 9, 9), "grouped", ("7",))
    assert [g.name for g in groups] == ["3"]
    assert reasons["0"] == "its channels are those of the network's input"
    assert reasons["1"] == "its channels reach a grouped Conv2d"


class AddsItsInput(nn.Module):
    """The first convolution's output meets the network's input; the second's does not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.classifier = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.second((self.first(x) + x).relu()).relu().mean((2, 3)))


def test_channels_that_are_added_to_the_input_stay() -> None:
    groups, reasons = find_groups(AddsItsInput().eval(), torch.randn(1, 8, 4, 4), "adds its input", ("classifier",))
    assert [group.name for group in groups] == ["second"]
    assert "fixed size" in reasons["first"]


@pytest.mark.parametrize("kind", KINDS)
def test_taylor_scores_are_the_gradients_of_a_gate_at_each_unit(kind: str) -> None:
    """A gate of one on what a unit puts out, differentiated by autograd."""
    made = subject(kind)
    inputs, targets = made.context.calibration_inputs, made.context.calibration_targets
    for group in groups_of(made):
        model = copy.deepcopy(made.model)
        gate = torch.ones(group.units, requires_grad=True)

        def gated(module: nn.Module, args: tuple[Tensor, ...], gate: Tensor = gate, width: int = group.width) -> object:
            values = gate.repeat_interleave(width)
            return (args[0] * (values[:, None, None] if isinstance(module, nn.Conv2d) else values),)

        for fqn in group.consumers():
            model.get_submodule(fqn).register_forward_pre_hook(gated)
        with torch.enable_grad():
            logits = model(inputs.clone()).flatten(0, -2)
            torch.nn.functional.cross_entropy(logits, targets.flatten().clone()).backward()
        assert gate.grad is not None
        order = unit_order(made.model, group, "taylor", made.context).order
        assert list(order) == gate.grad.square().argsort()[:-1].tolist()
