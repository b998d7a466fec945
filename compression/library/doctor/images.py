"""The images of a diagnosis: a fixed sample of the training split, seen with any preprocessing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compression.core.errors import InputError
from compression.experiments.tasks import Task
from models.datasets.decoded import ImageListing
from models.datasets.image_files import UNREADABLE, read_image
from models.datasets.photographs import PhotographDataset
from models.datasets.registry import Split
from models.datasets.views import ImageView
from models.info import ModelInfo
from models.preprocessing import image_view

SAMPLES = 200
_SEED, _PART = 77, "of the training split"


@dataclass
class Images:
    """A sample of a dataset.

    Attributes:
        targets: Classes or values.
        view: Raw images (N, C, H, W) as a model's record wants them resized and cut.
        photographs: Whether the record decides about that.
        part: Which part of the dataset they are of, in words.
    """

    targets: Tensor
    view: Callable[[ModelInfo], Tensor]
    photographs: bool
    part: str


def images_of(task: Task, count: int = SAMPLES) -> Images:
    """At most so many images, stratified, of the training split; never of the scored one.

    Raises:
        InputError: if there is no training split.
    """
    data = task.dataset
    if isinstance(data, PhotographDataset):
        return _photographs(data, count)
    if not len(data.train):
        raise InputError("dataset", data.info.name, "training images are needed; scored ones decide nothing")
    few = data.train.subset(count, _SEED)
    raw = few.inputs[:]
    return Images(few.targets, lambda info: raw, False, _PART)


def _photographs(data: PhotographDataset, count: int) -> Images:
    """Only the sampled files are decoded, once per view."""
    listing = data.listings[0]
    rows = Split(torch.arange(len(listing.names)), listing.target_tensor()).subset(count, _SEED).inputs[:].tolist()
    few = replace(
        listing, names=tuple(listing.names[row] for row in rows), targets=tuple(listing.targets[row] for row in rows)
    )
    readable = [row for row, name in enumerate(few.names) if _read(few, name, ImageView()) is not None]
    few = replace(
        few, names=tuple(few.names[row] for row in readable), targets=tuple(few.targets[row] for row in readable)
    )
    known: dict[ImageView, Tensor] = {}

    def view(info: ModelInfo) -> Tensor:
        wanted = image_view(info) or ImageView()
        if wanted not in known:
            known[wanted] = torch.stack([own for name in few.names if (own := _read(few, name, wanted)) is not None])
        return known[wanted]

    return Images(few.target_tensor(), view, True, _PART)


def _read(listing: ImageListing, name: str, view: ImageView) -> Tensor | None:
    try:
        image, _ = read_image(listing.root / name, listing.reading)
        return torch.from_numpy(view.apply(image).copy())
    except UNREADABLE:
        return None
