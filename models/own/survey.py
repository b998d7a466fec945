"""A first look at every image of a user's data set: which can be read, how large they are, what they look like."""

import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.datasets.decoded import ImageListing
from models.datasets.views import LONGEST
from models.downloads import Progress
from models.errors import InterruptedWorkError, ModelError

_CHUNK, _THUMB, _MEAN_SIDE, _MOST_PIXELS = 64, 112, 32, 2**26
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, MemoryError)
_SAMPLES = 12


@dataclass(frozen=True)
class Look:
    """What one image gave.

    Attributes:
        sides: Width and height, pixels.
        mean: Per channel, 0 to 1.
        square: Mean of the squares per channel.
    """

    sides: tuple[int, int]
    mean: np.ndarray
    square: np.ndarray


@dataclass(frozen=True)
class Survey:
    """What the images of one split gave.

    Attributes:
        readable: Number of readable images per class, by label.
        skipped: Names of those that cannot be read.
        smallest: Smallest side, pixels.
        largest: Largest side, pixels.
        mean: Mean per channel, 0 to 1.
        std: Standard deviation per channel, 0 to 1.
    """

    readable: dict[int, int]
    skipped: tuple[str, ...]
    smallest: int
    largest: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def look_at(path: Path) -> Look | None:
    """Decode one image as a whole; None where that cannot be done."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > _MOST_PIXELS or max(image.size) > LONGEST * min(image.size):
                return None
            small = image.convert("RGB").resize((_MEAN_SIDE, _MEAN_SIDE), Image.Resampling.BOX)
            pixels = np.asarray(small, np.float32).reshape(-1, 3) / 255
            return Look(image.size, pixels.mean(0), (pixels**2).mean(0))
    except _UNREADABLE:
        return None


def survey(listing: ImageListing, progress: Progress, cancelled: Callable[[], bool]) -> Survey:
    """Look at all images of a split.

    Raises:
        ModelError: if none can be read.
        InterruptedWorkError: if `cancelled` became true.
    """
    readable: dict[int, int] = {}
    skipped, looks, count = [], [], len(listing.names)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, count, _CHUNK):
            if cancelled():
                raise InterruptedWorkError("cancelled")
            names, labels = listing.names[start : start + _CHUNK], listing.targets[start : start + _CHUNK]
            found = pool.map(look_at, [listing.root / name for name in names])
            for name, label, look in zip(names, labels, found, strict=True):
                if look is None:
                    skipped.append(name)
                else:
                    looks.append(look)
                    readable[label] = readable.get(label, 0) + 1
            done = min(count, start + _CHUNK)
            progress(done / count, f"looking at the images: {done:,} of {count:,}")
    if not looks:
        raise ModelError(f"none of the {count} files can be read as an image")
    sides = [side for look in looks for side in look.sides]
    mean = np.mean([look.mean for look in looks], 0)
    std = np.sqrt(np.maximum(np.mean([look.square for look in looks], 0) - mean**2, 1e-6))
    return Survey(readable, tuple(skipped), min(sides), max(sides), _plain(mean), _plain(std))


def _plain(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def samples(listing: ImageListing, skipped: Iterable[str]) -> list[tuple[int, bytes]]:
    """Small JPEG pictures of some images, spread over the classes, with their labels."""
    gone, by_class = set(skipped), {}
    for name, label in zip(listing.names, listing.targets, strict=True):
        if name not in gone:
            by_class.setdefault(label, []).append(name)
    labels = sorted(by_class)
    each = max(1, _SAMPLES // len(labels))
    chosen = [labels[i] for i in np.unique(np.linspace(0, len(labels) - 1, min(_SAMPLES, len(labels))).astype(int))]
    wanted = [(label, name) for label in chosen for name in by_class[label][:each]]
    return [(label, picture) for label, name in wanted if (picture := _thumbnail(listing.root / name)) is not None]


def _thumbnail(path: Path) -> bytes | None:
    try:
        with Image.open(path) as image:
            small = ImageOps.fit(image.convert("RGB"), (_THUMB, _THUMB))
    except _UNREADABLE:
        return None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
