"""Small image datasets that are shipped with the project as one lossless file.

Images are stored column by column, in one LZMA stream with a checksum: on Fashion-MNIST that takes 356 bytes per
image of 784 pixels, less than PNG, WebP or gzip.
"""

import lzma
from pathlib import Path

import numpy as np
import torch

from models.datasets.registry import Split
from models.errors import ModelError

_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0, "nice_len": 273}]


def write_splits(path: Path, train: Split, test: Split) -> None:
    """Write two splits of uint8 images (N, 1, H, W) with at most 256 classes to one file."""
    raw = b"".join(
        part for split in (train, test)
        for part in (split.targets.to(torch.uint8).numpy().tobytes(), _columns(split.inputs[:].numpy()).tobytes())
    )
    path.write_bytes(lzma.compress(raw, format=lzma.FORMAT_XZ, check=lzma.CHECK_SHA256, filters=_FILTERS))


def read_splits(path: Path, sizes: tuple[int, int], shape: tuple[int, int]) -> tuple[Split, Split]:
    """Read the two splits that `write_splits` has written.

    Args:
        path: The file.
        sizes: Number of training and of test images.
        shape: Height and width, pixels.

    Raises:
        ModelError: if the file is missing or damaged.
    """
    try:
        raw = lzma.decompress(path.read_bytes(), format=lzma.FORMAT_XZ)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise ModelError(f"the data file {path.name} cannot be read: {' '.join(str(error).split())[:120]}") from None
    pixels, splits, start = shape[0] * shape[1], [], 0
    if len(raw) != sum(sizes) * (pixels + 1):
        raise ModelError(f"the data file {path.name} cannot be read: it has {len(raw)} bytes of images and labels")
    for count in sizes:
        targets = np.frombuffer(raw, np.uint8, count, start).astype(np.int64)
        columns = np.frombuffer(raw, np.uint8, count * pixels, start + count).reshape(count, 1, *shape[::-1])
        splits.append(Split(torch.from_numpy(_columns(columns)), torch.from_numpy(targets)))
        start += count * (pixels + 1)
    return splits[0], splits[1]


def _columns(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.swapaxes(-1, -2))
