"""CIFAR-style residual networks (He et al. 2016, section 4.2)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from models.registry import ModelInfo, register_model
from models.sources.releases import Release


class ProjectionBlock(nn.Module):
    """Two 3x3 convolutions; where the shape changes, a 1x1 convolution on the shortcut (option B)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu1(self.bn1(self.conv1(x)))
        return self.relu2(self.bn2(self.conv2(out)) + self.shortcut(x))


class PaddedBlock(nn.Module):
    """Two 3x3 convolutions; where the shape changes, a strided slice padded with zero channels (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pad = (outputs - inputs) // 2
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.pad:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """Three stages of w, 2w and 4w channels, 6n + 2 layers.

    Args:
        blocks: n, the blocks per stage (3 gives ResNet-20).
        num_classes: Classes.
        block: Kind of residual block.
        channels: Input channels.
        width: w, the channels of the first stage.
    """

    def __init__(
        self, blocks: int, num_classes: int = 10, block: type[nn.Module] = ProjectionBlock, channels: int = 3,
        width: int = 16,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(block, width, width, 1, blocks)
        self.layer2 = _stage(block, width, 2 * width, 2, blocks)
        self.layer3 = _stage(block, 2 * width, 4 * width, 2, blocks)
        self.linear = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.linear(out.mean((2, 3)))


def _stage(block: type[nn.Module], inputs: int, outputs: int, stride: int, count: int) -> nn.Sequential:
    return nn.Sequential(block(inputs, outputs, stride), *(block(outputs, outputs, 1) for _ in range(count - 1)))


@register_model(
    ModelInfo(
        name="digits_resnet", title="ResNet-20 on digits", task="image_classification", dataset="digits",
        input_shape=(1, 32, 32), num_classes=10, family="cnn", mean=(0.5,), std=(0.5,),
        description="A residual network of 20 layers with 1x1 projections on its shortcuts.",
    ),
    half_width=lambda: CifarResNet(3, channels=1, width=8),
)
def digits_resnet() -> nn.Module:
    """ResNet-20 for 32x32 digits."""
    return CifarResNet(3, channels=1)


@register_model(
    ModelInfo(
        name="fashion_resnet20", title="ResNet-20 on Fashion-MNIST", task="image_classification",
        dataset="fashion_mnist", input_shape=(1, 28, 28), num_classes=10, family="cnn", mean=(0.286,), std=(0.353,),
        description="A residual network of 20 layers with 1x1 projections on its shortcuts.",
    ),
    half_width=lambda: CifarResNet(3, channels=1, width=8),
)
def fashion_resnet20() -> nn.Module:
    """ResNet-20 for Fashion-MNIST."""
    return CifarResNet(3, channels=1)


_AKAMASTER = "https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/master/pretrained_models/"
_CHENYAOFO = "https://github.com/chenyaofo/pytorch-cifar-models/releases/download/resnet/"
_PADDED = {  # depth: (SHA-256, published accuracy, parameters)
    20: ("12fca82f", 0.9173, 269_722), 32: ("d509ac18", 0.9263, 464_154), 44: ("014dd654", 0.9310, 658_586),
    56: ("4bfd9763", 0.9339, 853_018),
}
_PROJECTED = {
    20: ("4118986f", 0.9260, 272_474), 32: ("ef93fc4d", 0.9353, 466_906), 44: ("2a3cabcb", 0.9401, 661_338),
    56: ("187c023a", 0.9437, 855_770),
}


def _padded_info(depth: int, sha256: str, accuracy: float, parameters: int) -> ModelInfo:
    release = Release(
        f"{_AKAMASTER}resnet{depth}-{sha256}.th", sha256, "Yerlan Idelbayev (akamaster)", "BSD-2-Clause", accuracy
    )
    return ModelInfo(
        name=f"cifar_resnet{depth}", title=f"ResNet-{depth} on CIFAR-10", task="image_classification",
        dataset="cifar10", input_shape=(3, 32, 32), num_classes=10, family="cnn",
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
        description=f"The classic CIFAR ResNet-{depth} with padded shortcuts (option A).",
        source=release.source, license=release.license, published_accuracy=accuracy, release=release,
        parameters=parameters, reference_weights=f"cifar10_resnet{depth}.safetensors",
    )


def _projected_info(depth: int, sha256: str, accuracy: float, parameters: int) -> ModelInfo:
    release = Release(
        f"{_CHENYAOFO}cifar10_resnet{depth}-{sha256}.pt", sha256, "Yaofo Chen (pytorch-cifar-models)",
        "BSD-3-Clause", accuracy, renamed=(("downsample.", "shortcut."), ("fc.", "linear.")),
    )
    return ModelInfo(
        name=f"cifar_resnet{depth}_projection", title=f"ResNet-{depth} on CIFAR-10, projections",
        task="image_classification", dataset="cifar10", input_shape=(3, 32, 32), num_classes=10, family="cnn",
        mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010),
        description=f"A ResNet-{depth} with 1x1 convolutions on its shortcuts (option B).",
        source=release.source, license=release.license, published_accuracy=accuracy, release=release,
        parameters=parameters,
    )


def _cifar(blocks: int, block: type[nn.Module], width: int = 16) -> Callable[[], nn.Module]:
    return lambda: CifarResNet(blocks, block=block, width=width)


for _depth in _PADDED:
    _blocks = (_depth - 2) // 6
    register_model(_padded_info(_depth, *_PADDED[_depth]), half_width=_cifar(_blocks, PaddedBlock, 8))(
        _cifar(_blocks, PaddedBlock)
    )
    register_model(_projected_info(_depth, *_PROJECTED[_depth]), half_width=_cifar(_blocks, ProjectionBlock, 8))(
        _cifar(_blocks, ProjectionBlock)
    )
