"""What a model may have been trained with instead: other normalisations, channel orders, crops and orders of labels."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from models.info import ModelInfo

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_USUAL_CROP = 256 / 224
_PHOTOGRAPH = 160


@dataclass(frozen=True)
class Alternative:
    """Another preprocessing.

    Attributes:
        words: What is different, after "with".
        settings: Fields of the model's record.
        usual: Whether many networks are trained so; of equally accurate alternatives these come first.
    """

    words: str
    settings: dict[str, Any] = field(default_factory=dict)
    usual: bool = True

    def of(self, info: ModelInfo) -> ModelInfo:
        """The model's record with these settings."""
        return replace(info, **self.settings)

    def options(self) -> str:
        """The same as options of ``add-model``."""
        parts = []
        for name, value in self.settings.items():
            values = value if isinstance(value, tuple) else (value,)
            parts.append(" ".join([f"--{name.replace('_', '-')}", *(f"{v:g}" if isinstance(v, float) else str(v)
                                                                    for v in values)]))
        return " ".join(parts)

    def joined(self, other: "Alternative") -> "Alternative":
        """Both at once."""
        settings, usual = {**self.settings, **other.settings}, self.usual and other.usual
        return Alternative(f"{self.words} and {other.words}", settings, usual)


def alternatives_to(info: ModelInfo, photographs: bool, moments: tuple[tuple[float, ...], tuple[float, ...]]
                    ) -> list[Alternative]:
    """Preprocessings that are not the model's, one difference each.

    Args:
        info: The model.
        photographs: Whether its images are resized and cut as it wants them.
        moments: Mean and standard deviation per channel of the images, of values from 0 to 1.
    """
    found = [own for own in _normalisations(info, moments) if own.of(info) != info]
    if info.input_shape[0] == 3:
        other = "RGB" if info.channel_order == "BGR" else "BGR"
        found.append(Alternative(f"the channels in the order {other}", {"channel_order": other}))
    size = info.input_shape[-1]
    if photographs:
        now = info.resize_size or size
        if now != size:
            found.append(Alternative(f"no centre crop (resized to {size})", {"resize_size": size}))
        usual = round(size * _USUAL_CROP)
        if now != usual and size >= _PHOTOGRAPH:
            found.append(Alternative(f"images resized to {usual} before the crop", {"resize_size": usual}))
        filters = "bicubic" if info.interpolation == "bilinear" else "bilinear"
        found.append(Alternative(f"{filters} interpolation", {"interpolation": filters}))
    return found


def _normalisations(info: ModelInfo, moments: tuple[tuple[float, ...], tuple[float, ...]]) -> list[Alternative]:
    channels = info.input_shape[0]
    unit = {} if info.scale == 255.0 else {"scale": 255.0}
    sets = [("mean 0.5 and std 0.5", (0.5,) * channels, (0.5,) * channels), ("values from 0 to 1", (), ())]
    if channels == 3:
        sets.insert(0, ("ImageNet's mean and std", *_IMAGENET))
    sets.append(("the mean and std of these images", *moments))
    found = [Alternative(words, {"mean": mean, "std": std, **unit}, mean != moments[0]) for words, mean, std in sets]
    return [*found, Alternative("values from 0 to 255", {"mean": (), "std": (), "scale": 1.0})]


@dataclass(frozen=True)
class LabelOrder:
    """Another order of labels.

    Attributes:
        words: What is different, after "with".
        remedy: What to do about it.
        targets: The samples' labels in that order; -1 where there is none.
    """

    words: str
    remedy: str
    targets: Tensor


def label_orders(targets: Tensor, names: Sequence[str], outputs: int) -> list[LabelOrder]:
    """Usual other orders: numeric against lexicographic, and shifted by one class.

    Args:
        targets: int64 labels.
        names: Name per class.
        outputs: Numbers that the model gives.
    """
    found = []
    if len(names) > 1 and all(name.isdigit() for name in names):
        for order, key in (("numeric", int), ("lexicographic", str)):
            place = {name: rank for rank, name in enumerate(sorted(names, key=key))}
            moved = torch.tensor([place[name] for name in names])
            if not torch.equal(moved, torch.arange(len(names))):
                remedy = f"add the dataset again with --order {order}"
                found.append(LabelOrder(f"class folders in {order} order", remedy, moved[targets]))
    shifts = {1: "labels shifted up by one (a background class first)", -1: "labels shifted down by one"}
    for shift, words in shifts.items():
        moved = targets + shift
        moved = torch.where((moved < 0) | (moved >= outputs), -1, moved)
        found.append(LabelOrder(words, "check the order of the class folders against the training's", moved))
    return found
