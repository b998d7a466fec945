"""Preprocessing of images as preprocessor_config.json states it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import ModelError

FILE = "preprocessor_config.json"
_FILTERS = {2: "bilinear", 3: "bicubic"}
_RESIZED_TO_LARGER = 384


@dataclass(frozen=True)
class ImagePreprocessing:
    """What is done to an image.

    Attributes:
        input_size: Side of the square that the network sees, pixels.
        resize_size: Shorter side before the centre crop, pixels.
        interpolation: "bilinear" or "bicubic".
        mean: Per channel; empty for no normalization.
        std: Per channel.
        scale: What bytes are divided by.
        source: Where this is stated, in words.
    """

    input_size: int
    resize_size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    source: str


def read_preprocessing(stated: Mapping[str, Any] | None, config: Mapping[str, Any]) -> ImagePreprocessing | None:
    """What a folder states; None where it has no such file.

    Args:
        stated: Content of preprocessor_config.json, if there is one.
        config: Content of config.json.

    Raises:
        ModelError: if a value is of another form.
    """
    if stated is None:
        return None
    remarks: list[str] = []
    try:
        size, crop = _side(stated.get("size"), remarks), _side(stated.get("crop_size"), [])
        side, resize = _sides(stated, config, size, crop)
        interpolation = _FILTERS.get(stated.get("resample", 2), "")
        if not interpolation:
            remarks.append(f"resample {stated['resample']} is not available here: bilinear is used")
        rescaled = stated.get("do_rescale", True)
        normalized = stated.get("do_normalize", True)
        mean = tuple(map(float, stated["image_mean"])) if normalized else ()
        std = tuple(map(float, stated["image_std"])) if normalized else ()
        scale = 1.0 / float(stated.get("rescale_factor", 1 / 255)) if rescaled else 1.0
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"{FILE} is not as expected: {type(error).__name__} {error}") from None
    source = FILE + "".join(f"; {remark}" for remark in remarks)
    return ImagePreprocessing(side, resize, interpolation or "bilinear", mean, std, round(scale, 6), source)


def _sides(
    stated: Mapping[str, Any], config: Mapping[str, Any], size: int | None, crop: int | None
) -> tuple[int, int]:
    """Sides of the input and before the crop, pixels."""
    if stated.get("do_center_crop") and crop:
        return crop, max(crop, size or crop)
    side = size or crop or int(config.get("image_size") or 224)
    part = stated.get("crop_pct")  # ConvNeXT's processor resizes to size / crop_pct and crops where size is small
    return side, int(side / part) if part and side < _RESIZED_TO_LARGER else side


def _side(value: Any, remarks: list[str]) -> int | None:
    """One side of a size as transformers writes it: a number, or a mapping of a side or of height and width."""
    if value is None or isinstance(value, int):
        return value
    if "shortest_edge" in value:
        return int(value["shortest_edge"])
    height, width = int(value["height"]), int(value["width"])
    if height != width:
        raise ValueError(f"height {height} and width {width} differ")
    remarks.append("resizing without keeping proportions is not available here: shorter side and centre crop are used")
    return height
