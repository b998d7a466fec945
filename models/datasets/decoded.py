"""Image files decoded and resized once: uint8 pixels on disk, memory-mapped ever after."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor

from models.datasets.image_files import UNREADABLE, VERSION, ImageReading, read_image
from models.datasets.views import ImageView
from models.errors import InterruptedWorkError, ModelError
from models.sources.downloads import Progress, unreported
from models.sources.locations import cache_folder

_CHUNK = 32


@dataclass(frozen=True)
class ImageListing:
    """Image files and their classes or values.

    Attributes:
        root: Folder of all of them.
        names: Paths below it.
        targets: Class of each, or its value (regression).
        reading: How they are read.
    """

    root: Path
    names: tuple[str, ...]
    targets: tuple[int, ...] | tuple[float, ...]
    reading: ImageReading = field(default_factory=ImageReading)

    def target_tensor(self) -> Tensor:
        """Classes as int64, values as float32."""
        values = any(isinstance(target, float) for target in self.targets)
        return torch.tensor(self.targets, dtype=torch.float32 if values else torch.int64)

    @cached_property
    def identity(self) -> str:
        """Hash of names, sizes, times of last change, classes and of how they are read; no file is opened."""
        digest = hashlib.sha256(f"{VERSION}|{self.reading}\n".encode())
        for name, target in zip(self.names, self.targets, strict=True):
            try:
                known = (self.root / name).stat()
                state = f"{known.st_size}|{known.st_mtime_ns}"
            except OSError:  # decoding will tell that it is not there
                state = "missing"
            digest.update(f"{name}|{state}|{target}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


class MappedImages:
    """uint8 images (N, C, H, W) that stay on disk until they are asked for; indexed like a tensor along N.

    Args:
        pixels: Memory-mapped tensor of all images.
        rows: Those that belong to it, int64; all where None.
    """

    def __init__(self, pixels: Tensor, rows: Tensor | None = None) -> None:
        self._pixels = pixels
        self._rows = torch.arange(len(pixels)) if rows is None else rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""
        return torch.Size((len(self), *self._pixels.shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        """uint8."""
        return self._pixels.dtype

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """The images of some rows, read into memory."""
        return self._pixels[self._rows[rows]]

    def taken(self, rows: Tensor) -> "MappedImages":
        """The same images restricted to some rows; nothing is read."""
        return MappedImages(self._pixels, self._rows[rows])


@dataclass
class Decoded:
    """What became of a listing.

    Attributes:
        inputs: The images that could be read.
        targets: Their classes, int64, or values, float32.
        skipped: Names of files that could not be read as images.
    """

    inputs: MappedImages
    targets: Tensor
    skipped: list[str] = field(default_factory=list)


def decode(
    listing: ImageListing, view: ImageView, progress: Progress = unreported, cancelled: Callable[[], bool] = bool
) -> Decoded:
    """Decode and resize a listing in threads, or map what an earlier call has left in the user's cache folder.

    Args:
        listing: The files.
        view: What is made of each.
        progress: Called with a fraction and a message.
        cancelled: Polled between chunks.

    Raises:
        ModelError: if no image can be read, or the disk has no room.
        InterruptedWorkError: if `cancelled` became true; nothing half-done is kept.
    """
    key = hashlib.sha256(f"{listing.identity}|{view}".encode()).hexdigest()[:24]
    pixels, record = cache_folder() / "decoded" / f"{key}.npy", cache_folder() / "decoded" / f"{key}.json"
    if not record.is_file() or not pixels.is_file():
        skipped = _decode_to(pixels, listing, view, progress, cancelled)
        _write(record, json.dumps({"root": str(listing.root), "view": str(view), "skipped": skipped}))
    skipped = json.loads(record.read_text(encoding="utf-8"))["skipped"]
    mapped = torch.from_numpy(np.load(pixels, mmap_mode="c"))  # copy on write: torch wants a writable array
    gone = set(skipped)
    rows = torch.tensor([row for row, name in enumerate(listing.names) if name not in gone], dtype=torch.int64)
    if not len(rows):
        raise ModelError(f"none of the {len(listing.names)} files below {listing.root} can be read as an image")
    return Decoded(MappedImages(mapped, rows), listing.target_tensor()[rows], skipped)


def _decode_to(
    path: Path, listing: ImageListing, view: ImageView, progress: Progress, cancelled: Callable[[], bool]
) -> list[str]:
    """Write the pixels of all files, zeros for those that cannot be read; returns the names of these."""
    shape = (len(listing.names), 3, view.crop_size, view.crop_size)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    needed, free = int(np.prod(shape)), shutil.disk_usage(path.parent).free
    if needed > free:
        raise ModelError(f"{needed / 1e6:.0f} MB are needed for decoded images, {free / 1e6:.0f} MB are free")
    draft = path.with_name(f"{path.stem}.{os.getpid()}.part")
    try:
        pixels = np.lib.format.open_memmap(draft, mode="w+", dtype=np.uint8, shape=shape)
        skipped = list(_decode_all(pixels, listing, view, progress, cancelled))
        pixels.flush()
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return skipped


def _decode_all(
    pixels: np.ndarray, listing: ImageListing, view: ImageView, progress: Progress, cancelled: Callable[[], bool]
) -> Iterator[str]:
    def work(row: int) -> str | None:
        try:
            pixels[row] = view.apply(read_image(listing.root / listing.names[row], listing.reading)[0])
        except UNREADABLE:
            return listing.names[row]
        return None

    count = len(listing.names)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, count, _CHUNK):
            if cancelled():
                raise InterruptedWorkError("cancelled")
            end = min(count, start + _CHUNK)
            yield from filter(None, pool.map(work, range(start, end)))
            progress(end / count, f"decoding images: {end:,} of {count:,}")


def _remove_leftovers(folder: Path) -> None:
    """Drafts of processes that are gone."""
    for draft in folder.glob("*.part"):
        owner = draft.suffixes[-2].removeprefix(".") if len(draft.suffixes) > 1 else ""
        if not owner.isdigit() or not psutil.pid_exists(int(owner)):
            draft.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.stem}.{os.getpid()}.part")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
