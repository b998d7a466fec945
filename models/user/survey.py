"""A first look at every image of a user's dataset: which can be read, how large they are, what they look like."""

import hashlib
import io
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.datasets.decoded import ImageListing
from models.datasets.image_files import UNREADABLE, ImageReading, ImageTraits, read_image
from models.datasets.views import LONGEST
from models.errors import InterruptedWorkError, ModelError
from models.sources.downloads import Progress

_CHUNK, _THUMB, _MEAN_SIDE = 64, 112, 32
_SAMPLES = 12


@dataclass(frozen=True)
class Look:
    """What one image gave.

    Attributes:
        sides: Width and height, pixels.
        mean: Per channel, 0 to 1.
        square: Mean of the squares per channel.
        traits: What is remarkable about its file.
        digest: Hash of the file's bytes.
    """

    sides: tuple[int, int]
    mean: np.ndarray
    square: np.ndarray
    traits: ImageTraits
    digest: bytes


@dataclass(frozen=True)
class Survey:
    """What the images of one split gave.

    Attributes:
        readable: Number of readable images per class, by label.
        skipped: Names of those that cannot be read, with the reason.
        smallest: Smallest side, pixels.
        largest: Largest side, pixels.
        mean: Mean per channel, 0 to 1.
        std: Standard deviation per channel, 0 to 1.
        traits: Number of images by what is remarkable about them: "rotated", "transparent", "several_frames",
            "sixteen_bit", "float".
        float_range: Smallest and largest sample of all float files; None without any.
        digests: Hash of each readable file's bytes.
    """

    readable: dict[int, int]
    skipped: dict[str, str]
    smallest: int
    largest: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    traits: dict[str, int]
    float_range: tuple[float, float] | None
    digests: frozenset[bytes]


def look_at(path: Path, reading: ImageReading) -> Look | str:
    """Decode one image as a whole; the reason where that cannot be done."""
    try:
        image, traits = read_image(path, reading)
        if max(image.size) > LONGEST * min(image.size):
            return f"{image.width} x {image.height} pixels: too long and thin"
        small = image.resize((_MEAN_SIDE, _MEAN_SIDE), Image.Resampling.BOX)
        pixels = np.asarray(small, np.float32).reshape(-1, 3) / 255
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha1").digest()
        return Look(image.size, pixels.mean(0), (pixels**2).mean(0), traits, digest)
    except UNREADABLE as error:
        if isinstance(error, OSError):
            return f"it cannot be opened ({error.strerror})" if error.strerror else "no image that can be read"
        return " ".join(str(error).split())[:120]


def survey(listing: ImageListing, progress: Progress, cancelled: Callable[[], bool]) -> Survey:
    """Look at all images of a split.

    Raises:
        ModelError: if none can be read.
        InterruptedWorkError: if `cancelled` became true.
    """
    readable: dict[int, int] = {}
    skipped: dict[str, str] = {}
    looks, count = [], len(listing.names)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, count, _CHUNK):
            if cancelled():
                raise InterruptedWorkError("cancelled")
            names, labels = listing.names[start : start + _CHUNK], listing.targets[start : start + _CHUNK]
            found = pool.map(lambda name: look_at(listing.root / name, listing.reading), names)
            for name, label, look in zip(names, labels, found, strict=True):
                if isinstance(look, str):
                    skipped[name] = look
                else:
                    looks.append(look)
                    readable[label] = readable.get(label, 0) + 1
            done = min(count, start + _CHUNK)
            progress(done / count, f"looking at the images: {done:,} of {count:,}")
    if not looks:
        reason = next(iter(skipped.values()))
        raise ModelError(f"none of the {count} files can be read as an image; the first: {reason}")
    sides = [side for look in looks for side in look.sides]
    mean = np.mean([look.mean for look in looks], 0)
    std = np.sqrt(np.maximum(np.mean([look.square for look in looks], 0) - mean**2, 1e-6))
    spans = [look.traits.float_range for look in looks if look.traits.float_range is not None]
    return Survey(
        readable, skipped, min(sides), max(sides), _plain(mean), _plain(std), _counted(looks),
        (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None,
        frozenset(look.digest for look in looks),
    )


def _counted(looks: list[Look]) -> dict[str, int]:
    traits = [look.traits for look in looks]
    counts = {
        "rotated": sum(t.rotated for t in traits), "transparent": sum(t.transparent for t in traits),
        "several_frames": sum(t.frames > 1 for t in traits),
        "sixteen_bit": sum(t.bits > 8 and t.float_range is None for t in traits),
        "float": sum(t.float_range is not None for t in traits),
    }
    return {name: count for name, count in counts.items() if count}


def _plain(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def samples(listing: ImageListing, skipped: Iterable[str]) -> list[tuple[float, bytes]]:
    """Small JPEG pictures of some images, spread over the classes, with their labels."""
    gone, by_class = set(skipped), {}
    for name, label in zip(listing.names, listing.targets, strict=True):
        if name not in gone:
            by_class.setdefault(label, []).append(name)
    labels = sorted(by_class)
    each = max(1, _SAMPLES // len(labels))
    chosen = [labels[i] for i in np.unique(np.linspace(0, len(labels) - 1, min(_SAMPLES, len(labels))).astype(int))]
    wanted = [(label, name) for label in chosen for name in by_class[label][:each]]
    shown = [(label, _thumbnail(listing.root / name, listing.reading)) for label, name in wanted]
    return [(label, picture) for label, picture in shown if picture is not None]


def _thumbnail(path: Path, reading: ImageReading) -> bytes | None:
    try:
        small = ImageOps.fit(read_image(path, reading)[0], (_THUMB, _THUMB))
    except UNREADABLE:
        return None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
