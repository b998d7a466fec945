"""Small networks written in the ways that people write them (1x32x32 inputs, 10 classes), each a kind of its own.

The first are copies of public reports; where the shared file of cases is present, its networks are taken too.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

SHARED = Path(__file__).resolve().parents[3] / "shared" / "cases" / "networks.py"
ODD: dict[str, Callable[[], nn.Module]] = {}


def odd(factory: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    ODD[factory.__name__.lower()] = factory
    return factory


def _head(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 10))


class SameLinear(nn.Linear):
    """Starts otherwise, computes the same."""

    def reset_parameters(self) -> None:
        nn.init.xavier_normal_(self.weight)
        nn.init.zeros_(self.bias)


@odd
def subclasses_of_layers() -> nn.Module:
    layers = [SameLinear(64, 64), nn.ReLU(), SameLinear(64, 64), nn.ReLU(), SameLinear(64, 10)]
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), *layers)


@odd
def activation_before_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(inplace=True), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, 2, 1),
        nn.Hardswish(inplace=True), nn.BatchNorm2d(16), _head(16),
    )


class NormThenGelu(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(super().forward(x))


class DefaultNorm(nn.BatchNorm2d):
    """Other defaults, the same norm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3, momentum=0.03)


@odd
def depthwise_and_norms_of_users() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1, bias=False), DefaultNorm(16), nn.ReLU6(inplace=True),
        nn.Conv2d(16, 16, 3, 2, 1, groups=16, bias=False), NormThenGelu(16), nn.Conv2d(16, 16, 3, 1, 1, groups=4),
        DefaultNorm(16), nn.ReLU(), _head(16),
    )


@odd
class PreActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm1 = nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.inner, self.norm2, self.outer = nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(32), nn.Conv2d(32, 16, 1)
        self.head = _head(16)

    def forward(self, x: Tensor) -> Tensor:
        raw = self.enter(x)
        change = self.inner(F.relu(self.norm1(raw), inplace=True))
        change += raw
        return self.head(self.outer(self.norm2(torch.cat([change, raw], 1)).relu_()))


@odd
class AddedBeforeNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm, self.head = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), _head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = self.b(x)
        y += x
        return self.head(self.norm(y))


@odd
class SharedNorm(nn.Module):
    """One norm behind two convolutions, and one convolution that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.norm = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8)
        self.twice, self.other, self.head = nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), _head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.b(F.relu(self.norm(self.a(x))))))
        return self.head(self.other(self.twice(F.relu(self.twice(x)))))


@odd
class NormReadByTwo(nn.Module):
    """A norm in a branch that two layers read, and a written-to slice."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm = nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8)
        self.left, self.right, self.head = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 1), _head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.enter(x))
        both = self.left(x).sigmoid() * self.right(x)
        return self.head(both + x.clamp(min=0))


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


@odd
def sequences_of_users() -> nn.Module:
    def block() -> nn.Module:
        return Residual(nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))

    return nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), block(), block(), _head(8))


class Standardized(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        weight = weight / (weight.std(dim=(1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


@odd
def weight_standardization() -> nn.Module:
    return nn.Sequential(
        Standardized(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16),
        nn.ReLU(), _head(16),
    )


@odd
def parametrized() -> nn.Module:
    weight_norm, spectral, orthogonal = (
        parametrizations.weight_norm, parametrizations.spectral_norm, parametrizations.orthogonal
    )
    pruned = prune.l1_unstructured(nn.Conv2d(16, 16, 3, 1, 1), "weight", 0.5)
    return nn.Sequential(
        weight_norm(nn.Conv2d(1, 16, 3, 2, 1)), nn.BatchNorm2d(16), nn.ReLU(), spectral(nn.Conv2d(16, 16, 3, 2, 1)),
        nn.ReLU(), pruned, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), orthogonal(nn.Linear(64, 64)), nn.ReLU(),
        spectral(weight_norm(nn.Linear(64, 10))),
    )


@odd
def hooked() -> nn.Module:
    return nn.Sequential(
        nn.utils.weight_norm(nn.Conv2d(1, 16, 3, 2, 1)), nn.BatchNorm2d(16), nn.ReLU(),
        nn.utils.spectral_norm(nn.Conv2d(16, 16, 3, 2, 1, bias=False)), nn.ReLU(), _head(16),
    )


@odd
def filters_of_zeros() -> nn.Module:
    """Masks of whole filters, whose biases stay, and a spectral norm of the older kind in front of a mask's."""
    masked = prune.ln_structured(nn.Conv2d(16, 16, 3, 2, 1), "weight", 0.25, n=2, dim=0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ELU(), masked, nn.ReLU(), nn.utils.spectral_norm(nn.Conv2d(16, 16, 1)),
        nn.ReLU6(), _head(16),
    )


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(channels, channels // 4), nn.Linear(channels // 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _, _ = x.size()
        gates = F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1).view(batch, channels)), inplace=True)
        return x * F.hardsigmoid(self.fc2(gates)).view(batch, channels, 1, 1).expand_as(x)


@odd
class GatedAndViewed(nn.Module):
    """Gates of linear layers, and a view that takes contiguous images only."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.inner = nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3, 2, 1)
        self.gates, self.head = SqueezeExcite(16), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gates(F.hardswish(self.norm(self.enter(x))))
        return F.log_softmax(self.head(F.max_pool2d(F.relu(self.inner(x)), 2).view(-1, 256)), dim=1)


@odd
def norms_without_affine_part() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8, affine=False), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
        nn.Flatten(), nn.Linear(128, 32, bias=False), nn.BatchNorm1d(32, affine=False), nn.ReLU(),
        nn.Linear(32, 32, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10),
    )


@odd
class Functional(nn.Module):
    """Functions with parameters of the network's own; a layer whose weight is read elsewhere, one called directly."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(8, 1, 3, 3) * 0.3)
        self.scale, self.shift = nn.Parameter(torch.rand(8) + 0.5), nn.Parameter(torch.randn(8))
        self.register_buffer("mean", torch.randn(8) * 0.3)
        self.register_buffer("var", torch.rand(8) + 0.5)
        self.mix, self.direct, self.head = nn.Linear(8, 8, bias=False), nn.Linear(8, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel, stride=2, padding=1)
        x = F.relu(F.batch_norm(x, self.mean, self.var, self.scale, self.shift)).mean((2, 3))
        mixed = F.linear(torch.tanh(self.mix(x)), self.mix.weight.t())
        return self.head(torch.tanh(self.direct.forward(mixed)) + x)


@odd
class UsedTwice(nn.Module):
    """A layer that runs twice, and one that has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.twice = nn.Linear(64, 16), nn.Linear(16, 16)
        self.one = nn.Linear(16, 16)
        self.same, self.head = self.one, nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.enter(F.avg_pool2d(x, 4).flatten(1)))
        x = F.relu(self.twice(F.relu(self.twice(x))))
        return self.head(F.relu(self.same(F.relu(self.one(x)))))


class Features(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(128, 10)
        self.enter, self.norm, self.inner = nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.Conv2d(16, 8, 3, 2, 1)

    def features(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.relu(self.inner(F.relu(self.norm(self.enter(x))))), 2)


@odd
class FixedView(Features):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).view(-1, 128))


@odd
class IntegerBatch(Features):
    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        batch, channels = int(x.shape[0]), int(x.size(1))
        return self.head(x.reshape(batch, channels * 16))


@odd
class ViewAndSqueeze(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.inner, self.head = nn.Conv2d(1, 8, 3, 4, 1), nn.Conv2d(8, 16, 8), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.enter(x))
        x = x.view(x.size(0), 8, -1).view(x.size(0), 8, 8, 8)
        return self.head(torch.relu(self.inner(x)).squeeze())


class Prediction(NamedTuple):
    features: Tensor
    scores: Tensor


@odd
class NamedTupleOutput(Features):
    def forward(self, x: Tensor) -> Prediction:
        x = self.features(x).flatten(1)
        return Prediction(self.head(x), x)


@odd
class DictOutput(Features):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.features(x).flatten(1)
        return {"features": x, "logits": self.head(x)}


@dataclass
class Result:
    loss: Tensor | None
    logits: Tensor
    hidden: Tensor


@odd
class DataclassOutput(Features):
    def forward(self, x: Tensor) -> Result:
        x = self.features(x).flatten(1)
        return Result(None, self.head(x), x)


@odd
class ChangesItsInput(Features):
    def forward(self, x: Tensor) -> Tensor:
        x.sub_(0.3).div_(0.7)
        return self.head(F.dropout(self.features(x).flatten(1), 0.5, self.training, inplace=True))


@odd
class Splines(nn.Module):
    """Sums of learned functions of each input (arXiv 2404.19756): its matrices belong to no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, 8, 3, 2, 1)
        self.position = nn.Parameter(torch.randn(1, 8, 16, 16) * 0.3)
        self.splines = nn.ParameterList([torch.randn(4, 8, 16) * 0.2, torch.randn(4, 16, 10) * 0.2])

    def forward(self, x: Tensor) -> Tensor:
        x = (self.enter(x) + self.position).mean((2, 3))
        for weights in self.splines:
            x = torch.stack([torch.sin(x * (k + 1)) for k in range(4)], 1)
            x = torch.einsum("bki,kio->bo", x, weights)
        return x


@odd
class ReadElsewhere(nn.Module):
    """Weights that code outside their layers reads: transposed, scaled, normalized; and a product of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.first, self.second = nn.Conv2d(1, 8, 3, 2, 1), nn.Linear(128, 48), nn.Linear(48, 48)
        self.scaled, self.product, self.head = nn.Linear(48, 32), nn.Bilinear(32, 32, 16), nn.Linear(16, 10, bias=False)
        self.back = nn.Parameter(torch.randn(128) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(F.relu(self.enter(x)), 4).flatten(1)
        y = F.relu(self.first(x))
        y = F.relu(self.first(x - F.linear(y, self.first.weight.t(), self.back)))
        y = F.linear(F.relu(self.second(y)), self.second.weight.t(), self.second.bias)
        y = F.linear(y, self.scaled.weight * 0.5, self.scaled.bias)
        return F.linear(self.product(y, torch.tanh(y)), F.normalize(self.head.weight))


@odd
def depth_multiplier() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6(),
        nn.Conv2d(12, 24, 3, 2, 1, groups=12), nn.BatchNorm2d(24), nn.ReLU(), _head(24),
    )


def shared_networks() -> dict[str, Callable[[], nn.Module]]:
    """The shared cases, where their file is beside this project."""
    if not SHARED.is_file():
        return {}
    spec = importlib.util.spec_from_file_location("shared_cases", SHARED)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {f"shared_{factory.__name__}": factory for factory in module.FACTORIES}
