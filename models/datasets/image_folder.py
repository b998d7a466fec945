"""Any folder of class folders, an ImageNet validation folder among them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from models.datasets.class_folders import (
    ClassTable,
    Folder,
    Labels,
    Order,
    class_folders,
    class_table,
    split_folders,
    visible,
)
from models.datasets.decoded import ImageListing
from models.datasets.image_files import SUFFIXES, ImageReading
from models.datasets.photographs import PhotographDataset
from models.datasets.registry import DatasetInfo, Split
from models.datasets.views import ImageView
from models.errors import ModelError
from models.sources.zip_archives import is_hidden
from models.tasks import IMAGES

_CALIBRATION_SHARE, _MOST_FOR_CALIBRATION = 0.2, 2048


@dataclass(frozen=True)
class FolderOptions:
    """What a user selects for a folder of images; all of it is part of the dataset's identity.

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
    try:
        names = {child.name for folder in split_folders(path).all() for child in _distinct(folder)}
        return class_table(names, options.labels, options.order)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except OSError as error:
        raise _cannot_be_listed(error) from None


def _distinct(split: Folder) -> list[Folder]:
    """The class folders of a split.

    Raises:
        ModelError: if two of them are one folder, by a link.
    """
    found, known = class_folders(split), {}
    for child in found:
        other = known.setdefault(Path(str(child)).resolve(), child)
        if other is not child:
            raise ModelError(f"class folders {other.name!r} and {child.name!r} are one folder, by a link")
    return found


def load_image_folder(
    path: Path, view: ImageView | None = None, info: DatasetInfo | None = None, options: FolderOptions | None = None
) -> PhotographDataset:
    """A dataset from a folder that holds one folder of images per class.

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
        for file in sorted(_files(child, folder)):
            if file.suffix.lower() in SUFFIXES:
                names.append(file.relative_to(folder).as_posix())
                targets.append(labels[child.name])
    if not names:
        raise ModelError(f"{folder}: its class folders hold no images ({', '.join(sorted(SUFFIXES))})")
    return ImageListing(folder, tuple(names), tuple(targets), reading)


def _files(folder: Path, root: Path) -> Iterator[Path]:
    """Visible files below a class folder.

    Links to folders elsewhere are followed, each once; links to folders of the same split, and to those that hold it,
    are not: their images are of the classes where they lie.

    Raises:
        ModelError: if a folder cannot be listed, whose images would be missing.
    """
    def refuse(error: OSError) -> None:
        raise _cannot_be_listed(error)

    whole, seen = root.resolve(), set()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = Path(place).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not is_hidden(name) and not _leads_inside(Path(place, name), whole)]
        yield from (path for name in files if not is_hidden(name) and (path := Path(place, name)).is_file())


def _leads_inside(path: Path, whole: Path) -> bool:
    """Whether a link leads to a folder of the data, or to one that holds them."""
    if not path.is_symlink():
        return False
    real = path.resolve()
    return real.is_relative_to(whole) or whole.is_relative_to(real)


def _cannot_be_listed(error: OSError) -> ModelError:
    return ModelError(f"{error.filename}: the folder cannot be listed ({error.strerror})")


def skipped_links(folder: Path) -> int:
    """How many links of the class folders of all splits are not followed, as they lead to the data themselves."""
    count = 0
    for split in split_folders(folder).all():
        root = Path(str(split))
        found = [child for child in visible(split) if child not in class_folders(split)]
        count += sum(Path(str(child)).is_symlink() and child.is_dir() for child in found)
        for child in class_folders(split):
            for place, folders, _ in os.walk(str(child)):
                count += sum(_leads_inside(Path(place, name), root.resolve()) for name in folders)
    return count


def other_files(folder: Path) -> dict[str, int]:
    """How many files of other kinds than images the class folders of all splits hold, by their ending."""
    counts: dict[str, int] = {}
    for split in split_folders(folder).all():
        for child in class_folders(split):
            for file in _files(Path(str(child)), Path(str(split))):
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
