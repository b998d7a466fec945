"""First and last layers by execution, not by order of registration."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compression.structure import find_groups
from compression.structure.ends import first_and_last, output_layers, read_elsewhere
from compression.techniques import get_technique
from tests.techniques.networks import subject
from tests.zoo.odd_networks import ReadElsewhere


class HeadFirst(nn.Module):
    """Registered from the back to the front."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 16)
        self.inner, self.enter = nn.Conv2d(16, 16, 3, 2, 1), nn.Conv2d(1, 16, 3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.inner(F.relu(self.enter(x)))).mean((2, 3)))


class TwoHeads(nn.Module):
    """Two classifiers whose outputs are added, one of them without a call of its module, behind a centred weight."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.enter, self.first = nn.Linear(8, 5), nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.enter(x))
        centred = self.second.weight - self.second.weight.mean(1, keepdim=True)
        total = F.linear(x, centred, self.second.bias)
        total += self.first(x)
        return F.log_softmax(total, -1)


class FullyConnectedEnd(nn.Module):
    """Convolutions in front of two linear layers with the usual names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 16, 3)
        self.fc1, self.fc2 = nn.Linear(16 * 16, 32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


def test_ends_are_those_of_execution() -> None:
    assert first_and_last(HeadFirst().eval(), torch.randn(1, 1, 8, 8)) == ("enter", "head")
    assert set(output_layers(TwoHeads().eval(), torch.randn(1, 6))) == {"first", "second"}
    assert first_and_last(TwoHeads().eval(), torch.randn(1, 6))[0] == "enter"
    assert first_and_last(nn.Sequential(nn.Flatten(), nn.ReLU()).eval(), torch.randn(1, 6)) == ()


def test_weights_that_are_read_outside_their_layers_are_found() -> None:
    """Tied weights, each read by a layer of its own, are not among them."""
    torch.manual_seed(0)
    model = ReadElsewhere().eval()
    assert read_elsewhere(model, torch.randn(1, 1, 32, 32)) == {"first", "second", "scaled", "head"}
    groups, _ = find_groups(model, torch.randn(1, 1, 32, 32), "read elsewhere")
    assert not {m.fqn for g in groups for m in g.members} & {"first", "second", "scaled", "head"}
    tied = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).eval()
    tied[2].weight = tied[0].weight
    assert read_elsewhere(tied, torch.randn(1, 4)) == set()


def test_a_convolution_in_front_of_a_pooling_makes_the_classes() -> None:
    layers = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = nn.Sequential(*layers)
    assert first_and_last(net.eval(), torch.randn(1, 1, 6, 6)) == ("0", "2")
    groups, _ = find_groups(net, torch.randn(1, 1, 6, 6), "classes from a convolution")
    assert [group.name for group in groups] == ["0"]


def test_classes_of_a_head_that_is_registered_first_stay() -> None:
    torch.manual_seed(0)
    model, inputs = HeadFirst().eval().requires_grad_(False), torch.randn(32, 1, 8, 8)
    context = subject("residual").context
    context.original, context.example_input, context.calibration_inputs = model, inputs[:1], inputs
    context.calibration_targets, context.model_key = model(inputs).argmax(-1), "head first"
    context.protected = first_and_last(model, inputs[:1])
    technique = get_technique("channel_pruning")
    pruned = technique.function(copy.deepcopy(model), technique.config_type(pruning_ratio=0.5, scope="layer"), context)
    assert [len(layer.weight) for layer in (pruned.enter, pruned.inner, pruned.head)] == [8, 8, 16]


def test_convolutions_in_front_of_linear_layers_lose_channels_too() -> None:
    groups, _ = find_groups(FullyConnectedEnd().eval(), torch.randn(1, 1, 8, 8), "convolutions and fc1, fc2")
    assert {group.name: group.kind for group in groups} == {"conv1": "channel", "fc1": "neuron"}
