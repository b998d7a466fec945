"""Datasets of image files: listed at once, decoded when their pixels are first needed."""

import hashlib
import threading
from collections.abc import Callable

import torch
from torch import Tensor

from models.datasets.augmentation import shift_and_flip
from models.datasets.decoded import Decoded, ImageListing, decode
from models.datasets.image_files import UNREADABLE, read_image
from models.datasets.registry import Dataset, DatasetInfo, Split, keep_as_is
from models.datasets.views import ImageView
from models.errors import ModelError
from models.sources.downloads import Progress, unreported

_SHIFT_SHARE = 8
_SMALL = ImageView(112, 96)


class PhotographDataset(Dataset):
    """A dataset whose identity is that of its files, so that it can be named before a single one is decoded.

    Args:
        info: Its record.
        train: Files for training, calibration and recovery.
        test: Files for scoring only.
        view: What is made of each image.
        validation: Files to choose between candidates on; None where a part of `train` is taken for it.
        flips: Whether trainings may see images mirrored and shifted; values may depend on place and side.
    """

    def __init__(
        self, info: DatasetInfo, train: ImageListing, test: ImageListing, view: ImageView,
        validation: ImageListing | None = None, *, flips: bool = True,
    ) -> None:
        self.info = info
        shift = view.crop_size // _SHIFT_SHARE
        self.augment = (lambda batch, generator: shift_and_flip(batch, generator, shift)) if flips else keep_as_is
        self._listings, self._view = (train, test, *([validation] if validation is not None else [])), view
        self._decoded: list[Decoded] = []
        self._lock = threading.Lock()

    @property
    def listings(self) -> tuple[ImageListing, ...]:
        """Files for training, for scoring and, where they come apart, for validation."""
        return self._listings

    @property
    def train(self) -> Split:  # type: ignore[override]
        """Images for training; decoded on first use."""
        return self._split(0)

    @property
    def test(self) -> Split:  # type: ignore[override]
        """Images for scoring; decoded on first use."""
        return self._split(1)

    @property
    def validation(self) -> Split | None:  # type: ignore[override]
        """Images to choose between candidates on, where the dataset has such a split; decoded on first use."""
        return self._split(2) if len(self._listings) > 2 else None

    @property
    def skipped(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the files that could not be read."""
        self.make_ready(unreported, bool)
        return tuple(name for decoded in self._decoded for name in decoded.skipped)

    @property
    def content_hash(self) -> str:  # type: ignore[override]
        """Hash of the files' names, sizes, times and classes and of the view; 16 hexadecimal digits."""
        parts = [*(listing.identity for listing in self._listings), str(self._view)]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]

    def glance(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """A few test images, small; only these are decoded. Those that cannot be read are left out."""
        listing = self._listings[1]
        targets = listing.target_tensor()
        images, kept = [], []
        for row in Split(torch.arange(len(targets)), targets).subset(n, seed).inputs[:].tolist():
            try:
                image, _ = read_image(listing.root / listing.names[row], listing.reading)
                images.append(torch.from_numpy(_SMALL.apply(image).copy()))
            except UNREADABLE:
                continue
            kept.append(row)
        if not images:
            raise ModelError(f"none of {n} files below {listing.root} can be read as an image")
        return torch.stack(images), targets[kept]

    def make_ready(self, progress: Progress, cancelled: Callable[[], bool]) -> None:
        """Decode both splits, or map what was decoded before.

        Raises:
            ModelError: if no image of a split can be read, or the disk has no room.
            InterruptedWorkError: if `cancelled` became true.
        """
        with self._lock:
            for listing in self._listings[len(self._decoded) :]:
                self._decoded.append(decode(listing, self._view, progress, cancelled))

    def _split(self, number: int) -> Split:
        self.make_ready(unreported, bool)
        return Split(self._decoded[number].inputs, self._decoded[number].targets)
