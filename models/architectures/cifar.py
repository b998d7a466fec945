"""Other networks for CIFAR-10: MLPerf Tiny's ResNet-8, ConvMixer and a compact vision transformer."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.transformer import VisionTransformer
from models.registry import ModelInfo, register_model

_COMMON = {"task": "image_classification", "dataset": "cifar10", "input_shape": (3, 32, 32), "num_classes": 10}
_EPS = 1e-3


def same_padded(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A convolution's input padded as TensorFlow does it (SAME): at a stride of 2, one column more at the far side.

    Args:
        x: (N, C, H, W).
        conv: A convolution without padding of its own.
    """
    missing = [
        max(0, (-(-length // stride) - 1) * stride + kernel - length)
        for length, stride, kernel in zip(x.shape[-2:], conv.stride, conv.kernel_size, strict=True)
    ]
    top, left = missing[0] // 2, missing[1] // 2
    return F.pad(x, (left, missing[1] - left, top, missing[0] - top))


class TinyBlock(nn.Module):
    """Two 3x3 convolutions with biases; where the shape changes, a 1x1 convolution without batch norm beside them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _same(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs, eps=_EPS)
        self.conv2 = _same(outputs, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs, eps=_EPS)
        self.down = nn.Conv2d(inputs, outputs, 1, stride) if stride != 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(x if self.conv1.stride == (1, 1) else same_padded(x, self.conv1))
        out = self.bn2(self.conv2(F.relu(self.bn1(inner))))
        return F.relu(out + self.down(x))


class TinyResNet(nn.Module):
    """ResNet-8 of MLPerf Tiny (Banbury et al., arXiv 2106.07597).

    Args:
        num_classes: Classes.
        width: Channels of the first block.
    """

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.conv1 = _same(3, width, 1)
        self.bn1 = nn.BatchNorm2d(width, eps=_EPS)
        self.b1 = TinyBlock(width, width, 1)
        self.b2 = TinyBlock(width, 2 * width, 2)
        self.b3 = TinyBlock(2 * width, 4 * width, 2)
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.b3(self.b2(self.b1(out))).mean((2, 3)))


def _same(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    """At a stride of 1 the two ways to pad are one; at another its input has to be padded (`same_padded`)."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1 if stride == 1 else 0)


class Residual(nn.Module):
    """Adds the input to what the block makes of it."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x) + x


def conv_mixer(width: int, depth: int, kernel: int, patch: int, num_classes: int) -> nn.Sequential:
    """ConvMixer (Trockman and Kolter, arXiv 2201.09792): depthwise and 1x1 convolutions on patches.

    Args:
        width: Channels.
        depth: Blocks.
        kernel: Kernel of the depthwise convolutions.
        patch: Side of a patch, pixels.
        num_classes: Classes.
    """
    def depthwise() -> nn.Module:
        mixing = nn.Conv2d(width, width, kernel, groups=width, padding=kernel // 2)
        return Residual(nn.Sequential(mixing, nn.GELU(), nn.BatchNorm2d(width)))

    blocks = [
        nn.Sequential(depthwise(), nn.Conv2d(width, width, 1), nn.GELU(), nn.BatchNorm2d(width)) for _ in range(depth)
    ]
    stem = (nn.Conv2d(3, width, patch, patch), nn.GELU(), nn.BatchNorm2d(width))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))


@register_model(
    ModelInfo(
        name="cifar_resnet8", title="ResNet-8 on CIFAR-10 (MLPerf Tiny)", family="cnn", scale=1.0, license="Apache-2.0",
        parameters=78_186,
        description="The image classifier of MLPerf Tiny, which takes raw bytes.", source="MLCommons, MLPerf Tiny",
        reference_weights="cifar10_resnet8_mlperf_tiny.safetensors", **_COMMON,
    ),
    half_width=lambda: TinyResNet(10, 8),
)
def cifar_resnet8() -> nn.Module:
    """MLPerf Tiny's ResNet-8."""
    return TinyResNet(10, 16)


@register_model(
    ModelInfo(
        name="cifar_convmixer", title="ConvMixer-256/8 on CIFAR-10", family="cnn", license="MIT",
        parameters=718_090,
        mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010), source="kentaroy47, vision-transformers-cifar10",
        description="Depthwise 9x9 and 1x1 convolutions on patches of four pixels.",
        reference_weights="cifar10_convmixer256_8_k9_p4_a.safetensors", **_COMMON,
    ),
    half_width=lambda: conv_mixer(128, 8, 9, 4, 10),
)
def cifar_convmixer() -> nn.Module:
    """ConvMixer-256/8, kernel 9, patch 4."""
    return conv_mixer(256, 8, 9, 4, 10)


@register_model(
    ModelInfo(
        name="cifar_vit", title="Vision transformer on CIFAR-10", family="transformer", license="the user's",
        parameters=1_275_018,
        mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616), source="weights that the user has",
        description="A compact transformer of six blocks on 64 patches.", reference_weights="cifar10_vit.safetensors",
        **_COMMON,
    ),
    half_width=lambda: VisionTransformer(3, 32, width=64, depth=6, heads=4, num_classes=10),
)
def cifar_vit() -> nn.Module:
    """A compact convolutional transformer for CIFAR-10, 1.2 M parameters."""
    return VisionTransformer(3, 32, width=128, depth=6, heads=8, num_classes=10)
