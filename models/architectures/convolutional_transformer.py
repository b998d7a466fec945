"""A compact convolutional transformer: convolutions make the tokens, transformer blocks mix them."""

import torch
from torch import Tensor, nn

from models.architectures.transformer import Block
from models.registry import ModelInfo, register_model


class ConvolutionalTransformer(nn.Module):
    """Three normalised convolutions, transformer blocks and the mean over tokens (Hassani et al., arXiv 2104.05704).

    Convolutions bring what a transformer would have to learn from many images: neighbours belong together.

    Args:
        channels: Input channels.
        size: Image height and width, a multiple of 4; tokens are (size / 4)^2.
        width: Residual width.
        depth: Blocks.
        heads: Heads per block.
        num_classes: Classes.
    """

    def __init__(self, channels: int, size: int, width: int, depth: int, heads: int, num_classes: int) -> None:
        super().__init__()
        third = width // 3
        self.stem = nn.Sequential(
            _convolution(channels, third, 1), _convolution(third, 2 * third, 2), _convolution(2 * third, width, 2)
        )
        self.position = nn.Parameter(torch.randn(1, (size // 4) ** 2, width) * 0.02)
        self.blocks = nn.Sequential(*(Block(width, heads, causal=False) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.stem(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(tokens)).mean(1))


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


@register_model(
    ModelInfo(
        name="fashion_vit", title="Vision transformer on Fashion-MNIST", task="image_classification",
        dataset="fashion_mnist", input_shape=(1, 28, 28), num_classes=10, family="transformer", mean=(0.286,),
        std=(0.353,), description="A compact convolutional transformer of two blocks on 49 tokens.",
    ),
    half_width=lambda: ConvolutionalTransformer(1, 28, width=48, depth=2, heads=2, num_classes=10),
)
def fashion_vit() -> nn.Module:
    """A compact convolutional transformer for Fashion-MNIST."""
    return ConvolutionalTransformer(1, 28, width=96, depth=2, heads=4, num_classes=10)
