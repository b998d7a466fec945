"""Any folder of class folders, an ImageNet validation folder among them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from models.datasets.class_folders import (
    ClassTable,
    Labels,
    Order,
    class_folders,
    class_table,
    split_folders,
)
from models.datasets.decoded import ImageListing
from models.datasets.image_files import SUFFIXES, ImageReading
from models.datasets.photographs import PhotographDataset
from models.datasets.registry import DatasetInfo, Split
from models.datasets.views import ImageView
from models.errors import ModelError
from models.tasks import IMAGES
from models.zip_archives import is_hidden

_CALIBRATION_SHARE, _MOST_FOR_CALIBRATION = 0.2, 2048


@dataclass(frozen=True)
class FolderOptions:
    """What a user selects for a folder of images; all of it is part of the data set's identity.

    Attributes:
        task: "image_classification" (class folders) or "regression" (a table ``labels.csv``).
        labels: What names of class folders mean; see `class_table`.
        order: Order of class folders; see `class_table`.
        reading: How the files are read.
    """

    labels: str = Labels.AUTO
    order: str = Order.LEXICOGRAPHIC
    reading: ImageReading = field(default_factory=ImageReading)
    task: str = IMAGES


def folder_classes(path: Path, options: FolderOptions | None = None) -> ClassTable:
    """Labels of the class folders of a folder, over all of its splits.

    Raises:
        ModelError: if it is no folder, or `class_table` raises one.
    """
    options = options or FolderOptions()
    if not path.is_dir():
        raise ModelError(f"{path}: a folder that holds one folder of images per class is needed")
    names = {child.name for folder in split_folders(path).all() for child in class_folders(folder)}
    try:
        return class_table(names, options.labels, options.order)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def load_image_folder(
    path: Path, view: ImageView | None = None, info: DatasetInfo | None = None, options: FolderOptions | None = None
) -> PhotographDataset:
    """A data set from a folder that holds one folder of images per class.

    Where it holds at least two of the folders ``train``, ``val`` and ``test`` of that form, these are the splits. Else
    a fixed, stratified fifth of the images, at most 2,048, is kept for calibration and never scored.

    Args:
        path: The folder.
        view: How images are resized; `ImageView()` by default.
        info: Record to use; its counts and classes are replaced by what is there. Made up by default.
        options: What the user has selected; `FolderOptions()` by default.

    Raises:
        ModelError: if the folder is not of that form.
    """
    options = options or FolderOptions()
    table, splits = folder_classes(path, options), split_folders(path)
    labels = dict(zip(table.folders, table.labels, strict=True))
    listings = [_listed(Path(str(folder)), labels, options.reading) for folder in splits.all()]
    parts = listings if len(listings) > 1 else divided(listings[0])
    view, record = view or ImageView(), info or _made_up(path)
    record = replace(
        record, n_train=len(parts[0].names), n_test=len(parts[1].names), resized=True,
        input_shape=(3, view.crop_size, view.crop_size), num_classes=len(table.names), class_names=table.names,
    )
    return PhotographDataset(record, parts[0], parts[1], view, parts[2] if len(parts) > 2 else None)


def _made_up(path: Path) -> DatasetInfo:
    return DatasetInfo(
        name=path.name, title=path.name, task="image_classification", num_classes=0, input_shape=(), n_train=0,
        n_test=0, source="a folder of the user", license="the user's",
    )


def _listed(folder: Path, labels: dict[str, int], reading: ImageReading) -> ImageListing:
    names, targets = [], []
    for child in sorted(folder / child.name for child in class_folders(folder)):
        for file in sorted(_files(child)):
            if file.suffix.lower() in SUFFIXES:
                names.append(file.relative_to(folder).as_posix())
                targets.append(labels[child.name])
    if not names:
        raise ModelError(f"{folder}: its class folders hold no images ({', '.join(sorted(SUFFIXES))})")
    return ImageListing(folder, tuple(names), tuple(targets), reading)


def _files(folder: Path) -> Iterator[Path]:
    """Visible files below a folder; links to folders are followed, but never in a circle."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (path for name in files if not is_hidden(name) and (path := Path(place, name)).is_file())


def other_files(folder: Path) -> dict[str, int]:
    """How many files of other kinds than images the class folders of all splits hold, by their ending."""
    counts: dict[str, int] = {}
    for split in split_folders(folder).all():
        for child in class_folders(split):
            for file in _files(Path(str(child))):
                if (suffix := file.suffix.lower()) not in SUFFIXES:
                    counts[suffix or "none"] = counts.get(suffix or "none", 0) + 1
    return counts


def divided(listing: ImageListing) -> list[ImageListing]:
    """A stratified part for calibration, and the rest."""
    count = len(listing.names)
    if count < 2:
        raise ModelError(f"{listing.root}: at least two images are needed, one to calibrate on and one to score")
    kept = min(_MOST_FOR_CALIBRATION, max(1, round(_CALIBRATION_SHARE * count)))
    parts = Split(torch.arange(count), listing.target_tensor()).divided(kept, seed=0)
    return [
        replace(
            listing, names=tuple(listing.names[i] for i in rows), targets=tuple(listing.targets[i] for i in rows)
        )
        for rows in (part.inputs[:].tolist() for part in parts)
    ]
