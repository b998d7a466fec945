"""Small transformers: a vision transformer and a causal character model."""

import torch
from torch import Tensor, nn

from models.registry import ModelInfo, register_model


class Attention(nn.Module):
    """Multi-head self-attention with one linear layer per role, so that heads can be removed.

    Args:
        width: Residual width.
        heads: Number of heads; head size is width / heads.
        causal: Whether a position sees only itself and earlier ones.
    """

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.head_dim = width // heads
        self.causal = causal
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = (q @ k.transpose(-2, -1)) * self.head_dim**-0.5
        if self.causal:
            length = x.shape[1]
            mask = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(mask, -1e9)
        mixed = scores.softmax(-1) @ v
        return self.output(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Vision transformer with a convolutional stem and mean pooling (Hassani et al. 2021).

    Args:
        channels: Input channels.
        size: Image height and width.
        width: Residual width.
        depth: Blocks.
        heads: Heads per block.
        num_classes: Classes.
    """

    def __init__(self, channels: int, size: int, width: int, depth: int, heads: int, num_classes: int) -> None:
        super().__init__()
        self.stem = self.make_stem(channels, width)
        self.position = nn.Parameter(torch.randn(1, (size // 4) ** 2, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads, causal=False) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def make_stem(self, channels: int, width: int) -> nn.Sequential:
        """What makes tokens of an image: (N, channels, H, W) to (N, width, H / 4, W / 4)."""
        return nn.Sequential(nn.Conv2d(channels, width // 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(width // 2, width, 3, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(1))


class CharacterGPT(nn.Module):
    """Decoder-only transformer over characters.

    Args:
        vocabulary: Number of characters.
        context: Longest input.
        width: Residual width.
        depth: Blocks.
        heads: Heads per block.
    """

    def __init__(self, vocabulary: int, context: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.position = nn.Parameter(torch.randn(1, context, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads, causal=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                scale = 0.02 / (2 * depth) ** 0.5 if name.endswith(("output.weight", "fc2.weight")) else 0.02
                nn.init.normal_(parameter, std=scale)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + self.position[:, : ids.shape[1]]
        return self.head(self.norm(self.blocks(x)))


@register_model(
    ModelInfo(
        name="digits_vit", title="Vision transformer on digits", task="image_classification", dataset="digits",
        input_shape=(1, 32, 32), num_classes=10, family="transformer", mean=(0.5,), std=(0.5,),
        description="A compact transformer of four blocks on 64 patches.",
    ),
    half_width=lambda: VisionTransformer(1, 32, width=48, depth=4, heads=3, num_classes=10),
)
def digits_vit() -> nn.Module:
    """A compact convolutional transformer for 32x32 digits."""
    return VisionTransformer(1, 32, width=96, depth=4, heads=6, num_classes=10)


@register_model(
    ModelInfo(
        name="python_gpt", title="Character GPT on Python source", task="language_modeling",
        dataset="python_source", input_shape=(128,), input_dtype="int64", num_classes=97, family="transformer",
        description="A decoder-only transformer that predicts the next character of Python source.",
    ),
    half_width=lambda: CharacterGPT(97, 128, width=80, depth=4, heads=5),
)
def python_gpt() -> nn.Module:
    """A causal character model of about 1.2 M parameters."""
    return CharacterGPT(97, 128, width=160, depth=4, heads=5)
