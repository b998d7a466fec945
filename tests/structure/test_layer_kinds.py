"""What a module is as a layer."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compression.layers import LayerKind, custom_layer, custom_layers, layer_kind, weight_layers


class GlorotLinear(nn.Linear):
    """Starts otherwise and describes itself otherwise; computes the same."""

    def reset_parameters(self) -> None:
        nn.init.xavier_normal_(self.weight)
        nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return "glorot"


class SameConv2d(nn.Conv2d):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)


class Standardized(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean(), self.bias)


class Padded(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(F.pad(input, (1, 0)), weight, bias)


def replaced() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.forward = lambda x: F.linear(x, layer.weight.abs())  # type: ignore[method-assign]
    return layer


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (nn.Linear(4, 4), LayerKind.LINEAR), (GlorotLinear(4, 4), LayerKind.LINEAR),
        (nn.Conv2d(4, 4, 1), LayerKind.CONV2D), (SameConv2d(4), LayerKind.CONV2D), (nn.ReLU(), None),
    ],
)
def test_a_subclass_that_computes_the_same_is_the_plain_layer(module: nn.Module, kind: LayerKind | None) -> None:
    assert layer_kind(module) is kind and custom_layer(module) is None


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Standardized(4, 4, 1), "Standardized has a forward pass other than Conv2d's"),
        (Padded(4, 4, 1), "Padded has a forward pass other than Conv2d's"),
        (replaced(), "its forward pass was replaced (Linear)"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "computed from other parameters"),
        (nn.utils.spectral_norm(nn.Linear(4, 4)), "computed from other parameters"),
        (nn.MultiheadAttention(4, 2).out_proj, "multi-head attention reads its weight directly"),
    ],
    ids=["forward", "_conv_forward", "replaced", "parametrized", "hook", "attention"],
)
def test_a_layer_of_another_forward_pass_keeps_it_and_says_so(module: nn.Module, reason: str) -> None:
    assert layer_kind(module) is None and reason in str(custom_layer(module))


def test_a_network_tells_plain_layers_from_others() -> None:
    model = nn.Sequential(SameConv2d(4), Standardized(4, 4, 1), nn.Flatten(), GlorotLinear(64, 4))
    assert [fqn for fqn, _ in weight_layers(model)] == ["0", "3"]
    assert list(custom_layers(model)) == ["1"]
    assert model(torch.randn(2, 4, 4, 4)).shape == (2, 4)
