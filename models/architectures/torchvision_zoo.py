"""torchvision's ImageNet networks. Their weights are torchvision's, downloaded on request.

What is stated here of each (address, accuracy, preprocessing) is torchvision's own record, copied so that listing the
models need not import torchvision; a test compares the two.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from models.registry import ModelInfo, register_model
from models.sources.releases import Release

_HOME = "https://download.pytorch.org/models/"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BY = "torchvision's authors"


@dataclass(frozen=True)
class _Entry:
    """One network: torchvision's record of its default weights.

    Attributes:
        title: Name for people.
        file: File name of the weights; the digits behind the last hyphen begin its SHA-256.
        accuracy: Top-1 on ImageNet's validation set, percent.
        parameters: Number of parameters.
        megabytes: Size of the file, MiB.
        description: One sentence.
        resize_size: Shorter side before the centre crop of 224 pixels.
        interpolation: How photographs are resized.
        family: "cnn" or "transformer".
        reference_weights: A file that the user may have instead.
    """

    title: str
    file: str
    accuracy: float
    parameters: int
    megabytes: float
    description: str
    resize_size: int = 256
    interpolation: str = "bilinear"
    family: str = "cnn"
    reference_weights: str | None = None


ZOO = {
    "resnet18": _Entry(
        "ResNet-18", "resnet18-f37072fd.pth", 69.758, 11_689_512, 44.661, "Residual network of basic blocks."
    ),
    "resnet50": _Entry(
        "ResNet-50", "resnet50-11ad3fa6.pth", 80.858, 25_557_032, 97.79, "Residual network of bottlenecks.", 232
    ),
    "mobilenet_v2": _Entry(
        "MobileNetV2", "mobilenet_v2-7ebf99e0.pth", 72.154, 3_504_872, 13.598,
        "Inverted residuals with depthwise convolutions.", 232,
    ),
    "mobilenet_v3_small": _Entry(
        "MobileNetV3 small", "mobilenet_v3_small-047dcff4.pth", 67.668, 2_542_856, 9.829,
        "Searched inverted residuals with gates and hard swish.",
    ),
    "efficientnet_b0": _Entry(
        "EfficientNet-B0", "efficientnet_b0_rwightman-7f5810bc.pth", 77.692, 5_288_548, 20.451,
        "Scaled inverted residuals with gates.", 256, "bicubic",
    ),
    "squeezenet1_1": _Entry(
        "SqueezeNet 1.1", "squeezenet1_1-b8a52dc0.pth", 58.178, 1_235_496, 4.729,
        "Squeezed 1x1 layers that feed 1x1 and 3x3 layers side by side.",
        reference_weights="imagenet_squeezenet1_1.safetensors",
    ),
    "shufflenet_v2_x1_0": _Entry(
        "ShuffleNetV2 x1.0", "shufflenetv2_x1-5666bf0f80.pth", 69.362, 2_278_604, 8.791,
        "Two branches whose channels are shuffled.",
    ),
    "regnet_y_400mf": _Entry(
        "RegNetY 400MF", "regnet_y_400mf-e6988f5f.pth", 75.804, 4_344_144, 16.806,
        "Grouped convolutions with gates, widths by a linear rule.", 232,
    ),
    "convnext_tiny": _Entry(
        "ConvNeXt tiny", "convnext_tiny-983f1562.pth", 82.52, 28_589_128, 109.119,
        "Depthwise 7x7 convolutions and layer norms in a transformer's shape.", 236,
    ),
    "vit_b_16": _Entry(
        "ViT-B/16", "vit_b_16-c867db91.pth", 81.072, 86_567_656, 330.285,
        "Vision transformer on patches of 16 pixels.", family="transformer",
    ),
    "swin_t": _Entry(
        "Swin tiny", "swin_t-704ceda3.pth", 81.474, 28_288_354, 108.19,
        "Transformer with attention within shifted windows.", 232, "bicubic", family="transformer",
    ),
}


def _release(entry: _Entry) -> Release:
    return Release(
        url=_HOME + entry.file, sha256=entry.file.rpartition("-")[2].partition(".")[0], source=_BY,
        license="BSD-3-Clause (torchvision); trained on ImageNet, see its terms", accuracy=entry.accuracy / 100,
        size_bytes=round(entry.megabytes * 2**20),
    )


def _info(name: str, entry: _Entry) -> ModelInfo:
    return ModelInfo(
        name=name, title=entry.title, task="image_classification", dataset="imagenet_sample",
        input_shape=(3, 224, 224), num_classes=1000, family=entry.family, description=entry.description,
        source=_BY, license="BSD-3-Clause", mean=_MEAN, std=_STD, reference_weights=entry.reference_weights,
        published_accuracy=entry.accuracy / 100, release=_release(entry), resize_size=entry.resize_size,
        interpolation=entry.interpolation, parameters=entry.parameters,
    )


def _factory(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from torchvision import models

        return models.get_model(name, weights=None)

    return build


for _name, _entry in ZOO.items():
    register_model(_info(_name, _entry))(_factory(_name))
