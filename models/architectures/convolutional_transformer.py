"""A compact convolutional transformer: convolutions make the tokens, transformer blocks mix them."""

from torch import nn

from models.architectures.transformer import VisionTransformer
from models.registry import ModelInfo, register_model


class ConvolutionalTransformer(VisionTransformer):
    """A vision transformer with three normalised convolutions as its stem (Hassani et al., arXiv 2104.05704).

    They bring what a transformer would have to learn from many images: neighbours belong together.
    """

    def make_stem(self, channels: int, width: int) -> nn.Sequential:
        """Convolutions of a third, two thirds and the whole of the width."""
        third = width // 3
        return nn.Sequential(
            _convolution(channels, third, 1), _convolution(third, 2 * third, 2), _convolution(2 * third, width, 2)
        )


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
