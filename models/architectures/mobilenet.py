"""Small depthwise-separable network (inverted residuals, Sandler et al. 2018)."""

from torch import Tensor, nn

from models.registry import ModelInfo, register_model

_STAGES = ((16, 1, 3), (24, 2, 4), (24, 1, 4), (40, 2, 4), (40, 1, 4), (64, 2, 4), (64, 1, 4))
_FASHION_STAGES = ((16, 1, 1), (24, 2, 3), (24, 1, 3), (40, 2, 4), (40, 1, 4), (64, 1, 4), (64, 1, 4))


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, 1x1 projection; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = nn.Sequential(nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6())
        self.depthwise = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()
        )
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.depthwise(self.expand(x)))
        return x + out if self.residual else out


class SmallMobileNet(nn.Module):
    """A MobileNetV2 for 32x32 images.

    Args:
        num_classes: Classes.
        channels: Input channels.
        stages: (outputs, stride, expansion) per block.
    """

    def __init__(self, num_classes: int, channels: int, stages: tuple[tuple[int, int, int], ...]) -> None:
        super().__init__()
        first, last = stages[0][0], stages[-1][0]
        self.stem = nn.Sequential(nn.Conv2d(channels, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU6())
        blocks, inputs = [], first
        for outputs, stride, expansion in stages:
            blocks.append(InvertedResidual(inputs, outputs, stride, expansion))
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Conv2d(last, 2 * last, 1, bias=False), nn.BatchNorm2d(2 * last), nn.ReLU6())
        self.classifier = nn.Linear(2 * last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.head(self.blocks(self.stem(x))).mean((2, 3)))


@register_model(
    ModelInfo(
        name="digits_mobilenet", title="MobileNet on digits", task="image_classification", dataset="digits",
        input_shape=(1, 32, 32), num_classes=10, family="cnn", mean=(0.5,), std=(0.5,),
        description="Inverted residuals with depthwise convolutions.",
    ),
    half_width=lambda: SmallMobileNet(10, 1, tuple((width // 2, *rest) for width, *rest in _STAGES)),
)
def digits_mobilenet() -> nn.Module:
    """A MobileNetV2 of about 0.2 M parameters for 32x32 digits."""
    return SmallMobileNet(10, 1, _STAGES)


@register_model(
    ModelInfo(
        name="fashion_mobilenetv2", title="MobileNetV2 on Fashion-MNIST", task="image_classification",
        dataset="fashion_mnist", input_shape=(1, 28, 28), num_classes=10, family="cnn", mean=(0.286,), std=(0.353,),
        description="Inverted residuals with depthwise convolutions.",
    ),
    half_width=lambda: SmallMobileNet(10, 1, tuple((width // 2, *rest) for width, *rest in _FASHION_STAGES)),
)
def fashion_mobilenetv2() -> nn.Module:
    """A MobileNetV2 of about 0.1 M parameters for Fashion-MNIST."""
    return SmallMobileNet(10, 1, _FASHION_STAGES)
