"""Every architecture of the zoo, thin and shallow, with the very blocks of the full one, on 48x48 images."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import nn

from compression.context import Batch, CompressionContext
from compression.layers import weight_layers
from models.architectures.attention_blocks import separate_roles
from models.architectures.cifar import TinyResNet, conv_mixer
from models.architectures.resnet import CifarResNet, PaddedBlock
from models.architectures.transformer import VisionTransformer as CompactTransformer
from tests.techniques.networks import Subject
from tests.zoo.settling import settle

SIZE, CLASSES, SAMPLES = 48, 5, 16


def _torchvision(name: str) -> Any:
    """A module of torchvision's models, imported late: `models` has to be imported before it."""
    return import_module(f"torchvision.models.{name}")


def _residual(block: str, outputs: int, **settings: Any) -> nn.Module:
    resnet = _torchvision("resnet")
    net = resnet.ResNet(getattr(resnet, block), [1, 1, 1, 1], num_classes=CLASSES, **settings)
    net.layer3, net.layer4, net.fc = nn.Identity(), nn.Identity(), nn.Linear(outputs, CLASSES)
    return net


def _mobilenet_v2() -> nn.Module:
    stages = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 1, 2]]
    net = _torchvision("mobilenetv2").MobileNetV2(CLASSES, 0.5, stages)
    net.features[-1][0], net.features[-1][1] = nn.Conv2d(16, 64, 1, bias=False), nn.BatchNorm2d(64)
    net.classifier[1] = nn.Linear(64, CLASSES)
    return net


def _mobilenet_v3() -> nn.Module:
    family = _torchvision("mobilenetv3")
    config = partial(family.InvertedResidualConfig, dilation=1, width_mult=1.0)
    stages = [
        config(16, 3, 16, 16, True, "RE", 2), config(16, 3, 48, 24, False, "HS", 2),
        config(24, 5, 48, 24, True, "HS", 1),
    ]
    return family.MobileNetV3(stages, last_channel=64, num_classes=CLASSES)


def _efficientnet() -> nn.Module:
    family = _torchvision("efficientnet")
    stages = [
        family.MBConvConfig(1, 3, 1, 16, 16, 1), family.MBConvConfig(6, 3, 2, 16, 24, 2),
        family.MBConvConfig(6, 5, 2, 24, 32, 1),
    ]
    return family.EfficientNet(stages, dropout=0.0, num_classes=CLASSES, last_channel=64)


def _squeezenet() -> nn.Module:
    family = _torchvision("squeezenet")
    net = family.SqueezeNet("1_1", CLASSES)
    net.features = nn.Sequential(*net.features[:3], family.Fire(64, 16, 32, 32), family.Fire(64, 16, 32, 32))
    net.classifier[1] = nn.Conv2d(64, CLASSES, 1)
    return net


def _regnet() -> nn.Module:
    family = _torchvision("regnet")
    blocks = family.BlockParams([2, 1], [16, 32], [8, 8], [1.0, 1.0], [2, 2], 0.25)
    return family.RegNet(blocks, num_classes=CLASSES, stem_width=16)


def _convnext() -> nn.Module:
    family = _torchvision("convnext")
    stages = [family.CNBlockConfig(16, 32, 2), family.CNBlockConfig(32, None, 1)]
    return family.ConvNeXt(stages, num_classes=CLASSES, layer_scale=0.5)


def _maxvit() -> nn.Module:
    family = _torchvision("maxvit")
    return family.MaxVit((SIZE, SIZE), 16, 3, [16, 32], [1, 1], 8, 0.0, mlp_ratio=2, num_classes=CLASSES)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: _residual("BasicBlock", 128),
    "resnet50": lambda: _residual("Bottleneck", 512, width_per_group=16),
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3_small": _mobilenet_v3,
    "efficientnet_b0": _efficientnet,
    "squeezenet1_1": _squeezenet,
    "shufflenet_v2_x1_0": lambda: _torchvision("shufflenetv2").ShuffleNetV2([2, 1, 1], [16, 32, 48, 64, 64], CLASSES),
    "regnet_y_400mf": _regnet,
    "convnext_tiny": _convnext,
    "vit_b_16": lambda: _torchvision("vision_transformer").VisionTransformer(
        SIZE, 12, 2, 2, 32, 64, num_classes=CLASSES
    ),
    "swin_t": lambda: _torchvision("swin_transformer").SwinTransformer(
        [4, 4], 16, [2, 2], [2, 4], [4, 4], num_classes=CLASSES
    ),
    "maxvit_t": _maxvit,
    "cifar_resnet": lambda: CifarResNet(1, CLASSES, PaddedBlock),
    "cifar_resnet8": lambda: TinyResNet(CLASSES, 16),
    "cifar_convmixer": lambda: conv_mixer(16, 2, 9, 4, CLASSES),
    "cifar_vit": lambda: CompactTransformer(3, SIZE, width=32, depth=2, heads=2, num_classes=CLASSES),
}


def zoo_subject(name: str, seed: int = 0, **changes: Any) -> Subject:
    """A thin network with random weights and data; equal for equal seeds."""
    torch.manual_seed(seed)
    model = separate_roles(NETWORKS[name]())
    inputs = torch.randn(SAMPLES, 3, SIZE, SIZE)
    settle(model, inputs, 0.05)
    with torch.inference_mode():
        targets = model(inputs).argmax(-1).clone()

    def batches(epoch: int) -> Iterator[Batch]:
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
        for rows in order.chunk(2):
            yield inputs[rows], targets[rows]

    layers = [fqn for fqn, _ in weight_layers(model)]
    settings: dict[str, Any] = {
        "original": model, "example_input": inputs[:1], "calibration_inputs": inputs, "calibration_targets": targets,
        "training_batches": batches, "batches_per_epoch": 2, "task": "image_classification",
        "model_key": f"thin-{name}-{seed}", "data_key": f"random-{seed}", "protected": (layers[0], layers[-1]),
    }
    return Subject(model, CompressionContext(**{**settings, **changes}))
