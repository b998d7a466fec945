"""Photographs of any size as tensors of one size."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

LONGEST = 64


@dataclass(frozen=True)
class ImageView:
    """Resize the shorter side, cut a square from the middle: the evaluation transform of torchvision's models.

    Attributes:
        resize_size: Shorter side after resizing, pixels.
        crop_size: Side of the square, at most `resize_size`.
        interpolation: "bilinear" or "bicubic", both with antialiasing.
    """

    resize_size: int = 256
    crop_size: int = 224
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if not 0 < self.crop_size <= self.resize_size:
            raise ValueError(f"crop_size {self.crop_size}: 1 to resize_size ({self.resize_size}) is allowed")
        if self.interpolation not in _FILTERS:
            raise ValueError(f"interpolation {self.interpolation!r}: allowed: " + ", ".join(_FILTERS))

    def apply(self, image: Image.Image) -> np.ndarray:
        """uint8 (3, crop_size, crop_size) of an image; equal to torchvision's transform before normalisation.

        Raises:
            ValueError: if the image is so long and thin that resizing it would fill the memory.
        """
        width, height = image.size
        if max(width, height) > LONGEST * min(width, height):
            raise ValueError(f"an image of {width} x {height} pixels")
        if width <= height:
            size = (self.resize_size, int(self.resize_size * height / width))
        else:
            size = (int(self.resize_size * width / height), self.resize_size)
        resized = image.convert("RGB").resize(size, _FILTERS[self.interpolation])
        left, top = (round((length - self.crop_size) / 2.0) for length in size)
        cut = resized.crop((left, top, left + self.crop_size, top + self.crop_size))
        return np.asarray(cut).transpose(2, 0, 1)
