"""Channels that no input changes are counted and named."""

import torch
from torch import nn

from compression.structure.constant_channels import constant_channels, constant_channels_note


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4))


def test_zero_filters_and_zero_norms_are_counted() -> None:
    model = network()
    with torch.no_grad():
        model[0].weight[2:5] = 0
        model[1].weight[7] = 0
    assert constant_channels(model) == {"0": 3, "1": 1}
    note = constant_channels_note(model)
    assert note is not None and "3 of 0, 1 of 1. Channel pruning" in note


def test_a_network_without_any_has_no_note() -> None:
    assert constant_channels(network()) == {} and constant_channels_note(network()) is None
