"""Preprocessing that an architecture's authors state: torchvision's weights enums, timm's ``pretrained_cfg``."""

import math
from dataclasses import dataclass
from functools import lru_cache

FILTERS = ("bilinear", "bicubic")
_HALF = (0.5, 0.5, 0.5)
_NORMALIZED_INSIDE = ("googlenet", "inception_v3")
_TRANSFORMERS = (
    "vit", "swin", "deit", "maxvit", "beit", "cait", "eva", "xcit", "twins", "pvt", "volo", "mvit", "tnt", "pit",
    "levit", "flexivit", "hiera", "naflexvit", "nest", "coat", "crossvit", "samvit", "davit", "gcvit", "tiny_vit",
)


@dataclass(frozen=True)
class Stated:
    """What the authors of an architecture state.

    Attributes:
        channels: Channels of its input.
        input_size: Side of its input, pixels.
        resize_size: Shorter side of a photograph before the centre crop, pixels.
        interpolation: "bilinear" or "bicubic".
        mean: Normalization per channel, of values from 0 to 1.
        std: Normalization per channel.
        num_classes: Classes of the published weights.
        source: Where this is stated, in words.
    """

    channels: int
    input_size: int
    resize_size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    num_classes: int
    source: str


def family_of(name: str) -> str:
    """"transformer" or "cnn", by the name of an architecture of torchvision or timm."""
    return "transformer" if name.startswith(_TRANSFORMERS) else "cnn"


@lru_cache(maxsize=256)
def torchvision_states(name: str) -> Stated:
    """The evaluation transform of torchvision's default weights of an architecture.

    googlenet and inception_v3 normalize once more inside (``transform_input``) when torchvision loads its weights;
    the network built here does not, so the two normalizations are stated as one.
    """
    from torchvision import models

    weights = models.get_model_weights(name).DEFAULT
    stated = weights.transforms()
    mean, std, inside = tuple(stated.mean), tuple(stated.std), ""
    if name in _NORMALIZED_INSIDE:
        mean, std, inside = _HALF, _HALF, " with its transform_input"
    return Stated(
        3, int(stated.crop_size[0]), int(stated.resize_size[0]), str(stated.interpolation.value), mean, std,
        len(weights.meta["categories"]), f"torchvision {weights}{inside}",
    )


@lru_cache(maxsize=256)
def timm_states(name: str) -> Stated:
    """timm's ``pretrained_cfg`` of an architecture, with its evaluation transform.

    Args:
        name: A name of timm's, with or without the tag of the weights ("resnet18.a1_in1k").
    """
    import timm

    found = timm.get_pretrained_cfg(name)
    channels, size = int(found.input_size[0]), int(found.input_size[-1])
    resize, remarks = max(size, math.floor(size / found.crop_pct)), []
    if found.crop_mode != "center":
        remarks.append(f"its crop mode {found.crop_mode!r} is not available here: a centre crop is used")
    interpolation = found.interpolation
    if interpolation not in FILTERS:
        remarks.append(f"its interpolation {interpolation!r} is not available here: bicubic is used")
        interpolation = "bicubic"
    tag = f" {found.architecture or name}{'.' + found.tag if found.tag else ''}"
    source = f"timm pretrained_cfg{tag}" + "".join(f"; {remark}" for remark in remarks)
    return Stated(
        channels, size, resize, interpolation, tuple(map(float, found.mean)), tuple(map(float, found.std)),
        int(found.num_classes), source,
    )
