"""Any folder of class folders, an ImageNet validation folder among them."""

from dataclasses import replace
from pathlib import Path

import torch

from models.datasets.decoded import ImageListing
from models.datasets.imagenet_classes import COUNT, class_indices, class_names
from models.datasets.photographs import PhotographDataset
from models.datasets.registry import DatasetInfo, Split
from models.datasets.views import ImageView
from models.errors import ModelError

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"))
_TRAIN, _TEST = ("train", "training"), ("val", "valid", "validation", "test")
_CALIBRATION_SHARE, _MOST_FOR_CALIBRATION = 0.2, 2048


def load_image_folder(path: Path, view: ImageView | None = None, info: DatasetInfo | None = None) -> PhotographDataset:
    """A data set from a folder that holds one folder of images per class.

    Where it holds folders ``train`` and ``val`` (or ``test``) of that form, these are the splits. Else a fixed,
    stratified fifth of the images, at most 2,048, is kept for calibration and never scored. Folders named by ImageNet's
    WordNet ids, indices or class names are labelled with ImageNet's indices, so that networks of 1,000 classes can be
    scored on a few of them; all others in alphabetical order.

    Args:
        path: The folder.
        view: How images are resized; `ImageView()` by default.
        info: Record to use; its counts and classes are replaced by what is there. Made up by default.

    Raises:
        ModelError: if the folder is not of that form.
    """
    if not path.is_dir():
        raise ModelError(f"{path}: a folder that holds one folder of images per class is needed")
    train, test = (_first(path, names) for names in (_TRAIN, _TEST))
    folders = [train, test] if train is not None and test is not None else [path]
    names = sorted({child.name for folder in folders for child in _class_folders(folder)})
    if len(names) < 2:
        raise ModelError(f"{path}: at least two folders of images, named by class, are needed; found {len(names)}")
    known = class_indices(names)
    labels = dict(zip(names, range(len(names)) if known is None else known, strict=True))
    listings = [_listed(folder, labels) for folder in folders]
    parts = listings if len(listings) == 2 else _divided(listings[0])
    view, record = view or ImageView(), info or _made_up(path)
    record = replace(
        record, n_train=len(parts[0].names), n_test=len(parts[1].names), resized=True,
        input_shape=(3, view.crop_size, view.crop_size), num_classes=len(names) if known is None else COUNT,
        class_names=tuple(names) if known is None else class_names(),
    )
    return PhotographDataset(record, parts[0], parts[1], view)


def _made_up(path: Path) -> DatasetInfo:
    return DatasetInfo(
        name=path.name, title=path.name, task="image_classification", num_classes=0, input_shape=(), n_train=0,
        n_test=0, source="a folder of the user", license="the user's",
    )


def _first(path: Path, names: tuple[str, ...]) -> Path | None:
    return next((path / name for name in names if (path / name).is_dir()), None)


def _class_folders(path: Path) -> list[Path]:
    return [child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")]


def _listed(folder: Path, labels: dict[str, int]) -> ImageListing:
    names, targets = [], []
    for child in sorted(_class_folders(folder)):
        for file in sorted(child.rglob("*")):
            if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file():
                names.append(file.relative_to(folder).as_posix())
                targets.append(labels[child.name])
    if not names:
        raise ModelError(f"{folder}: its class folders hold no images ({', '.join(sorted(SUFFIXES))})")
    return ImageListing(folder, tuple(names), tuple(targets))


def _divided(listing: ImageListing) -> list[ImageListing]:
    """A stratified part for calibration, and the rest."""
    count = len(listing.names)
    if count < 2:
        raise ModelError(f"{listing.root}: at least two images are needed, one to calibrate on and one to score")
    kept = min(_MOST_FOR_CALIBRATION, max(1, round(_CALIBRATION_SHARE * count)))
    parts = Split(torch.arange(count), torch.tensor(listing.targets)).divided(kept, seed=0)
    return [
        ImageListing(listing.root, tuple(listing.names[i] for i in rows), tuple(listing.targets[i] for i in rows))
        for rows in (part.inputs[:].tolist() for part in parts)
    ]
