"""Folders of class folders: which folders are splits, which are classes, and which label each class has."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath
from typing import Protocol
from unicodedata import category

from models.datasets.image_files import SUFFIXES
from models.datasets.imagenet_classes import class_indices, class_names, wordnet_ids
from models.errors import ModelError
from models.sources.zip_archives import is_hidden

_LONGEST = 255
_TRAIN, _VALIDATION, _TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")


class Labels(StrEnum):
    """What the names of class folders mean."""

    AUTO = "auto"
    FOLDERS = "folders"
    IMAGENET = "imagenet"


class Order(StrEnum):
    """Order of class folders, by which labels count from 0."""

    LEXICOGRAPHIC = "lexicographic"
    NUMERIC = "numeric"


class Folder(Protocol):
    """A folder on disk or in a zip archive."""

    @property
    def name(self) -> str:
        """Its last part."""

    def is_dir(self) -> bool:
        """Whether it is a folder rather than a file."""

    def iterdir(self) -> Iterator["Folder"]:
        """What is in it."""


@dataclass(frozen=True)
class ClassTable:
    """Label of each class folder.

    Attributes:
        folders: Names of the class folders, in the order of their labels.
        labels: Label of each.
        names: Name of the class of each label; all 1,000 where labels are ImageNet's.
        imagenet: Whether labels are ImageNet's indices.
        warning: What to check before relying on it; empty if there is nothing.
    """

    folders: tuple[str, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    imagenet: bool
    warning: str = ""

    def rows(self) -> list[tuple[int, str, str]]:
        """(label, folder, name of the class) of each class folder."""
        return [(label, folder, self.names[label]) for label, folder in zip(self.labels, self.folders, strict=True)]


@dataclass(frozen=True)
class SplitFolders:
    """Which folders hold the splits.

    Attributes:
        train: Calibrates and trains.
        test: Is scored; None where both are to be made of `train`.
        validation: Chooses between candidates; None where a part of `train` does.
        ignored: Names of split folders without class folders, which are left out.
    """

    train: Folder
    test: Folder | None = None
    validation: Folder | None = None
    ignored: tuple[str, ...] = ()

    def all(self) -> list[Folder]:
        """Those that are there."""
        return [folder for folder in (self.train, self.test, self.validation) if folder is not None]


class ListedFolder:
    """A folder of which only the paths below it are known.

    Args:
        name: Its last part.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._children: dict[str, ListedFolder] = {}
        self._is_file = False

    def add(self, path: str, *, is_file: bool) -> None:
        """Add a file or folder and the folders around it; parts are divided by slashes."""
        place = self
        for part in filter(None, path.split("/")):
            place = place._children.setdefault(part, ListedFolder(part))
        place._is_file = is_file

    def is_dir(self) -> bool:
        """Whether it is a folder rather than a file."""
        return not self._is_file

    def iterdir(self) -> Iterator["ListedFolder"]:
        """What is in it."""
        return iter(self._children.values())


def visible(folder: Folder) -> list[Folder]:
    """What is in a folder, but for hidden things and those that operating systems leave."""
    return [child for child in folder.iterdir() if not is_hidden(child.name)]


def class_folders(folder: Folder) -> list[Folder]:
    """The folders in a folder; a link back to it or to what holds it is none."""
    return [child for child in visible(folder) if child.is_dir() and not _leads_back(child)]


def _leads_back(child: Folder) -> bool:
    return isinstance(child, Path) and child.is_symlink() and child.parent.resolve().is_relative_to(child.resolve())


def content_root(folder: Folder) -> Folder:
    """The folder with class or split folders: archives mostly hold one folder around everything."""
    while True:
        children = class_folders(folder)
        if len(children) != 1 or _has_images(folder) or not class_folders(children[0]):
            return folder
        folder = children[0]


def _has_images(folder: Folder) -> bool:
    return any(PurePath(child.name).suffix.lower() in SUFFIXES for child in visible(folder))


def split_folders(root: Folder) -> SplitFolders:
    """Splits of a folder.

    ``test`` is scored where it is there, else ``val``; with all three, ``val`` chooses between candidates.
    """
    named: dict[str, Folder] = {}
    for child in class_folders(root):
        known = named.setdefault(child.name.lower(), child)
        if known is not child and child.name.lower() in (*_TRAIN, *_VALIDATION, *_TEST):
            raise ModelError(f"two folders of one split: {known.name!r} and {child.name!r}")
    groups = (_TRAIN, _VALIDATION, _TEST)
    parts = [next((_inner(named[name]) for name in names if name in named), None) for names in groups]
    train, validation, test = (part if part is not None and class_folders(part) else None for part in parts)
    ignored = tuple(part.name for part in parts if part is not None and not class_folders(part))
    present = [part for part in (train, validation, test) if part is not None]
    if len(present) < 2:
        return SplitFolders(root)
    return SplitFolders(present[0], present[-1], validation if len(present) == 3 else None, ignored)


def _inner(split: Folder) -> Folder:
    """A split's folder: archives of archives have ``train/train``."""
    while True:
        children = class_folders(split)
        if len(children) != 1 or children[0].name.lower() != split.name.lower() or not class_folders(children[0]):
            return split
        split = children[0]


def class_table(folders: Iterable[str], labels: str = Labels.AUTO, order: str = Order.LEXICOGRAPHIC) -> ClassTable:
    """Labels of class folders.

    Args:
        folders: Their names; those of several splits together.
        labels: "folders" counts folders from 0 in their order; "imagenet" takes names as WordNet ids, indices or names
            of ImageNet's classes; "auto" does so for WordNet ids only.
        order: "lexicographic", as torchvision's `ImageFolder` has it ("10" before "2"), or "numeric" ("2" before "10").

    Raises:
        ModelError: if there are fewer than two, an option is unknown, or names are none of ImageNet's.
    """
    if labels not in list(Labels):
        raise ModelError(f"labels: {labels!r} is not allowed; allowed: " + ", ".join(Labels))
    if order not in list(Order):
        raise ModelError(f"order: {order!r} is not allowed; allowed: " + ", ".join(Order))
    names = sorted(set(folders))
    for name in names:
        if len(name.encode(errors="replace")) > _LONGEST or any(category(c) in ("Cc", "Cs") for c in name):
            raise ModelError(f"class folder {name[:60]!a}: a name of at most {_LONGEST} bytes of text is needed")
    if len(names) < 2:
        raise ModelError(f"at least two folders of images, named by class, are needed; found {len(names)}")
    if labels == Labels.IMAGENET or (labels == Labels.AUTO and set(names) <= set(wordnet_ids())):
        known = class_indices(names)
        if known is None:
            raise ModelError("labels: 'imagenet' needs folders named by WordNet ids, indices or names of its classes")
        pairs = sorted(zip(known, names, strict=True))
        return ClassTable(tuple(n for _, n in pairs), tuple(i for i, _ in pairs), class_names(), imagenet=True)
    numeric = sorted(names, key=_numeric)
    ordered = names if order == Order.LEXICOGRAPHIC else numeric
    remarks = [_order_warning(names, numeric, order) if names != numeric else "", _case_warning(names)]
    warning = " ".join(filter(None, remarks))
    return ClassTable(tuple(ordered), tuple(range(len(names))), tuple(ordered), imagenet=False, warning=warning)


def _case_warning(names: list[str]) -> str:
    """Names that are one class to people and two to torchvision."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.casefold(), name)
        if other != name:
            return f'"{other}" and "{name}" differ in upper and lower case only, and are two classes.'
    return ""


def _numeric(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """Sorts runs of digits by their value: "2" before "10", "class_2" before "class_10"."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part], name


def _order_warning(names: list[str], numeric: list[str], order: str) -> str:
    place = next(i for i, (one, other) in enumerate(zip(names, numeric, strict=True)) if one != other)
    first, second = names[place], numeric[place]
    if order == Order.LEXICOGRAPHIC:
        return (
            f'"{first}" sorts before "{second}": label {place} is the folder "{first}", as torchvision\'s ImageFolder '
            f'has it; in numeric order it is "{second}".'
        )
    return f'Label {place} is the folder "{second}"; torchvision\'s ImageFolder would take "{first}".'
