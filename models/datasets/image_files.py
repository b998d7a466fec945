"""Image files of any kind as 8-bit RGB, as torchvision's loader reads them; what cannot be read rightly is refused.

torchvision's `pil_loader` is `Image.open(path).convert("RGB")`, which clips 16-bit and float samples to white. These
are scaled here. Everything else (palettes, alpha, CMYK, 1-bit) is what that call makes of it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif"))
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError)
VERSION = 2  # of what becomes of a file; part of the identity of all image data
_MOST_PIXELS = 2**26
_ORIENTATION, _BITS, _PHOTOMETRIC, _SAMPLES, _FORMAT = 0x0112, 258, 262, 277, 339
_UNSIGNED, _MIN_IS_WHITE = 1, 0
_SIXTEEN_BIT = ("PNG", "PPM")  # formats whose mode "I" holds 0 to 65,535


@dataclass(frozen=True)
class ImageReading:
    """How the files of a dataset are read; one for all of them, never chosen per image.

    Attributes:
        apply_exif: Whether an orientation in EXIF data turns the image; torchvision's loader ignores it.
        float_range: Which values of float files become 0 and 255.
    """

    apply_exif: bool = False
    float_range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class ImageTraits:
    """What is remarkable about a file.

    Attributes:
        rotated: Whether its EXIF data names an orientation other than upright.
        transparent: Whether it has transparency, which is dropped.
        frames: Frames or pages; the first is read.
        bits: Bits per sample where they are more than 8, else 8.
        float_range: Smallest and largest sample of a float file; None for others.
    """

    rotated: bool = False
    transparent: bool = False
    frames: int = 1
    bits: int = 8
    float_range: tuple[float, float] | None = None


def read_image(path: Path, reading: ImageReading) -> tuple[Image.Image, ImageTraits]:
    """First frame of a file as 8-bit RGB, and what is remarkable about it.

    Args:
        path: The file.
        reading: How the files of its dataset are read.

    Raises:
        Exception: one of `UNREADABLE` if it cannot be read.
    """
    with Image.open(path) as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels; at most {_MOST_PIXELS:,} in all are read")
        _check_samples(image)
        traits = _traits(image)
        if image.mode.startswith("I") or image.mode == "F":
            image.load()
            span = _span(image) if image.mode == "F" else None
            found, bits = _eight_bit(image, reading)
            traits = ImageTraits(traits.rotated, traits.transparent, traits.frames, bits, span)
        else:
            found = image
        if reading.apply_exif and traits.rotated:
            found = _upright(found, image)
        return found.convert("RGB"), traits


def _check_samples(image: Image.Image) -> None:
    """Refuse what Pillow would read with channels left out in silence."""
    samples = _tag(image, _SAMPLES, len(image.getbands()))
    if samples > 4:
        raise ValueError(f"{samples} channels; 1 to 4 are read")
    if image.mode.startswith("I") and image.format == "TIFF":
        bits, kind = _tag(image, _BITS, 32), _tag(image, _FORMAT, _UNSIGNED)
        if kind != _UNSIGNED or bits > 16:
            sign = "" if kind == _UNSIGNED else "signed "
            raise ValueError(f"{sign}whole numbers of {bits} bits, whose range is not known; 8 and 16 bits are read")
    elif image.mode == "I" and image.format not in _SIXTEEN_BIT:
        raise ValueError("whole numbers of 32 bits, whose range is not known; 8 and 16 bits are read")


def _tag(image: Image.Image, number: int, default: int) -> int:
    """A whole number of a TIFF file's header."""
    value = getattr(image, "tag_v2", {}).get(number, default)
    return int(value[0] if isinstance(value, tuple) else value)


def _traits(image: Image.Image) -> ImageTraits:
    transparent = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    frames = 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    return ImageTraits(image.getexif().get(_ORIENTATION, 1) not in (0, 1), transparent, frames)


def _eight_bit(image: Image.Image, reading: ImageReading) -> tuple[Image.Image, int]:
    """A gray image of more than 8 bits scaled to 8, and its bits per sample."""
    values = np.asarray(image)
    if image.mode == "F":
        low, high = reading.float_range
        scaled, bits = (values.astype(np.float64) - low) * (255.0 / (high - low)), 32
    else:
        bits = _tag(image, _BITS, 16)
        scaled = values.astype(np.float64) * (255.0 / (2**bits - 1))
        if _tag(image, _PHOTOMETRIC, 1) == _MIN_IS_WHITE and image.format == "TIFF":
            scaled = 255.0 - scaled
    return Image.fromarray(np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8)), bits


def _span(image: Image.Image) -> tuple[float, float]:
    values = np.asarray(image)
    if not np.isfinite(values).all():
        raise ValueError("float samples that are no finite numbers")
    return float(values.min()), float(values.max())


def _upright(found: Image.Image, image: Image.Image) -> Image.Image:
    copy = found.copy()
    copy.getexif()[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
    return ImageOps.exif_transpose(copy)


def usual_range(low: float, high: float) -> tuple[float, float]:
    """Which values of a dataset's float files mean black and white: 0 and 1, 255 or 65,535 if all lie within."""
    for limit in (1.0, 255.0, 65_535.0):
        if low >= 0 and high <= limit:
            return 0.0, limit
    return low, high if high > low else low + 1.0
