"""Tiny seeded networks of every kind the techniques must handle, each with the context of a run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compression.context import Batch, CompressionContext
from compression.layers import weight_layers

BATCHES = 4
KINDS = ("residual", "depthwise", "vision_transformer", "gpt")


class Block(nn.Module):
    """Two 3x3 convolutions around a residual addition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + x)


class Separable(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection around a residual addition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.expand = nn.Sequential(nn.Conv2d(width, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6())
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()
        )
        self.project = nn.Sequential(nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.depthwise(self.expand(x))) + x


class ConvNet(nn.Module):
    """Stem, three blocks of one shape, classifier."""

    def __init__(self, block: type[nn.Module], width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(*(block(width) for _ in range(3)))
        self.classifier = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.blocks(F.relu(self.bn(self.stem(x)))).mean((2, 3)))


class Attention(nn.Module):
    """Self-attention with one linear layer per role."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.head_dim, self.causal = width // heads, causal
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            m(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for m in (self.query, self.key, self.value)
        )
        scores = (q @ k.transpose(-2, -1)) * self.head_dim**-0.5
        if self.causal:
            mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(mask, -1e9)
        return self.output((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Pre-norm attention and two linear layers."""

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, 2, causal)
        self.fc1, self.act, self.fc2 = nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(self.act(self.fc1(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Patches, two blocks, mean pooling."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 4, 4)
        self.position = nn.Parameter(torch.randn(1, 4, width) * 0.02)
        self.blocks = nn.Sequential(*(TransformerBlock(width, False) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(1))


class CharacterGPT(nn.Module):
    """Embedding, two causal blocks, one logit per character."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, width)
        self.position = nn.Parameter(torch.randn(1, 8, width) * 0.02)
        self.blocks = nn.Sequential(*(TransformerBlock(width, True) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 11, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embedding(ids) + self.position[:, : ids.shape[1]])))


@dataclass(frozen=True)
class Subject:
    """A network and the context of a run on it; `context` shares the network as the original."""

    model: nn.Module
    context: CompressionContext


def subject(kind: str, seed: int = 0, **changes: Any) -> Subject:
    """One of `KINDS` with random data; the same weights and data for the same seed."""
    torch.manual_seed(seed)
    builders = {
        "residual": lambda: ConvNet(Block), "depthwise": lambda: ConvNet(Separable),
        "vision_transformer": VisionTransformer, "gpt": CharacterGPT,
    }
    model = builders[kind]()
    text = kind == "gpt"
    inputs = torch.randint(0, 11, (32, 8)) if text else torch.randn(32, 1, 8, 8)
    _settle(model, inputs)
    with torch.inference_mode():
        targets = model(inputs).argmax(-1).clone()

    def batches(epoch: int) -> Iterator[Batch]:
        order = torch.randperm(32, generator=torch.Generator().manual_seed(epoch))
        for rows in order.chunk(BATCHES):
            yield inputs[rows], targets[rows]

    layers = [fqn for fqn, _ in weight_layers(model)]
    settings: dict[str, Any] = {
        "original": model, "example_input": inputs[:1], "calibration_inputs": inputs, "calibration_targets": targets,
        "training_batches": batches, "batches_per_epoch": BATCHES,
        "task": "language_modeling" if text else "image_classification",
        "model_key": f"tiny-{kind}-{seed}", "data_key": f"random-{seed}", "protected": (layers[0], layers[-1]),
    }
    torch.seed()  # what follows must not depend on the global generator
    return Subject(model, CompressionContext(**{**settings, **changes}))


def _settle(model: nn.Module, inputs: Tensor) -> None:
    """Give batch norms statistics of the data and outputs a spread: an untrained network that could be in use."""
    model.train()
    with torch.no_grad():
        list(weight_layers(model))[-1][1].weight.mul_(10)
        for _ in range(100):
            model(inputs)
    model.eval().requires_grad_(False)
