"""Architectures of timm, one block per stage and thin where they can be, on 64x64 images; needs timm."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from torch import nn

SIZE, CLASSES = 64, 10


def _made(name: str, **settings: Any) -> nn.Module:
    """An architecture with random weights; timm is imported late, since most tests do without it."""
    return import_module("timm").create_model(name, pretrained=False, num_classes=CLASSES, **settings)


def _one_block_per_stage(name: str) -> nn.Module:
    """What follows a stage's first block has equal widths, and is left out."""
    model = _made(name)
    stages = model.blocks if hasattr(model, "blocks") else model.stages
    for index, stage in enumerate(stages):
        stages[index] = stage[:1]
    return model


def _regnet() -> nn.Module:
    model = _made("regnetx_002")
    for stage in (model.s3, model.s4):
        for name in list(dict(stage.named_children()))[1:]:
            delattr(stage, name)
    return model


def _ghostnet() -> nn.Module:
    """The stages up to the first one with a gate."""
    model = _made("ghostnet_100")
    model.blocks = nn.Sequential(*[stage[:1] for stage in model.blocks[:4]])
    model.conv_head, model.classifier = nn.Conv2d(40, 64, 1), nn.Linear(64, CLASSES)
    return model


THIN: dict[str, Callable[[], nn.Module]] = {
    "thin_resnet10t": lambda: _made("resnet10t", channels=(16, 16, 32, 32)),
    "thin_mobilenetv3": lambda: _one_block_per_stage("mobilenetv3_small_050"),
    "thin_lcnet": lambda: _one_block_per_stage("lcnet_050"),
    "thin_tinynet": lambda: _one_block_per_stage("tinynet_e"),
    "thin_efficientnet_lite": lambda: _one_block_per_stage("efficientnet_lite0"),
    "thin_tf_efficientnet_lite": lambda: _one_block_per_stage("tf_efficientnet_lite0"),
    "thin_resnetv2": lambda: import_module("timm.models.resnetv2").ResNetV2(
        layers=(1, 1), channels=(128, 128), stem_chs=32, num_classes=CLASSES, stem_type="same",
        conv_layer=import_module("timm.layers").StdConv2dSame,
    ),
    "thin_ghostnet": _ghostnet,
    "thin_regnetx": _regnet,
    "thin_convnext": lambda: _made("convnext_atto", depths=(1, 1, 1, 1), dims=(16, 24, 32, 40)),
    "thin_mobilevit": lambda: _one_block_per_stage("mobilevit_xxs"),
    "thin_vit": lambda: _made(
        "vit_tiny_patch16_224", img_size=SIZE, patch_size=16, embed_dim=32, depth=2, num_heads=2
    ),
    "thin_mixer": lambda: import_module("timm.models.mlp_mixer").MlpMixer(
        num_classes=CLASSES, img_size=SIZE, patch_size=16, num_blocks=2, embed_dim=32
    ),
    "thin_levit": lambda: _made(
        "levit_128s", img_size=SIZE, embed_dim=(32, 48, 64), num_heads=(2, 3, 4), depth=(1, 1, 1), key_dim=8
    ),
}
