"""Datasets that users have added: folders of class folders, surveyed and kept under a name."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from models.datasets.class_folders import (
    ClassTable,
    ListedFolder,
    class_folders,
    class_table,
    content_root,
    split_folders,
)
from models.datasets.image_files import SUFFIXES
from models.datasets.image_folder import FolderOptions, folder_classes, load_image_folder
from models.datasets.image_values import load_image_values, with_table
from models.datasets.photographs import PhotographDataset
from models.datasets.registry import DatasetInfo
from models.datasets.views import ImageView
from models.errors import FieldError, ModelError
from models.names import is_taken
from models.sources.downloads import Progress, unreported
from models.sources.zip_archives import ZipLimits, unpack_zip, zip_names
from models.tasks import IMAGES, REGRESSION
from models.user.data_report import DataReport, examined, options_from_record, share
from models.user.keeping import Shelf, check_name, folder_bytes, new_folder, own_folder, write_record
from models.user.kept_models import models_on
from models.user.value_report import examined_values

_LEAST_TRAIN, _LEAST_TEST = 3, 5
_IMAGES, _SAMPLES = "images", "samples"


@dataclass(frozen=True)
class KeptData:
    """A user's dataset.

    Attributes:
        info: Its record in the registry.
        report: What was found in it.
        size_bytes: Its files in the cache folder.
    """

    info: DatasetInfo
    report: DataReport
    size_bytes: int


def _read(data: dict[str, Any], folder: Path) -> KeptData:
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    report = DataReport(**{**plain, "options": options_from_record(data)})
    if report.copied:
        report = replace(report, folder=str(folder / report.folder))
    return KeptData(report.info(folder.name), report, folder_bytes(folder))


SHELF = Shelf("datasets", _read)


def add_data(
    name: str, source: Path, created: str, *, options: FolderOptions | None = None, shown: str | None = None,
    limits: ZipLimits | None = None, progress: Progress = unreported, cancelled: Callable[[], bool] = bool,
) -> KeptData:
    """Look at every image of a zip or folder of class folders, and keep the dataset under a name.

    A zip's images are copied into the cache folder; a folder's stay where they are.

    Args:
        name: What it will be called.
        source: A zip file or a folder.
        created: Time, ISO form.
        options: Labels, their order and how files are read; the range of float files is found here.
        shown: What the user calls it, if not its own name.
        limits: Of a zip.
        progress: Called with a fraction and a message.
        cancelled: Polled meanwhile.

    Raises:
        FieldError: if the name is taken or no name, or the source is neither a zip nor a folder.
        ModelError: if it is not of that form, or the zip is refused; nothing is kept.
        InterruptedWorkError: if `cancelled` became true; nothing is kept.
    """
    check_name(name, is_taken)
    options = options or FolderOptions()
    if options.task not in (IMAGES, REGRESSION):
        raise FieldError("task", options.task, f"allowed: {IMAGES}, {REGRESSION}")
    shown = shown or source.name
    if not source.is_dir() and not source.is_file():
        raise FieldError("path", str(source), "an existing zip file or folder is needed")
    with new_folder("datasets", name) as draft:
        copied = source.is_file()
        if copied:
            (draft / _IMAGES).mkdir()
            report_unpacking = partial(share, progress, 0.0, 0.3)
            kept = SUFFIXES | {".csv"} if options.task == REGRESSION else SUFFIXES
            unpack_zip(source, draft / _IMAGES, kept, shown, limits, report_unpacking, cancelled)
        root = draft / _IMAGES if copied else source.absolute()
        folder = with_table(root) if options.task == REGRESSION else Path(str(content_root(root)))
        look = examined_values if options.task == REGRESSION else examined
        try:
            looking = partial(share, progress, 0.3, 1.0)
            report, pictures = look(folder, options, created, looking, cancelled)
        except ModelError as error:
            raise ModelError(str(error).replace(str(folder), shown)) from None
        if report.n_train < _LEAST_TRAIN or report.n_test < _LEAST_TEST:
            least = f"at least {_LEAST_TRAIN} to calibrate on and {_LEAST_TEST} to score are needed"
            raise ModelError(f"{shown} has {report.n_train} and {report.n_test} readable images; {least}")
        if copied:
            report = replace(report, folder=str(folder.relative_to(draft)), copied=True)
        _write_samples(draft, pictures)
        write_record(draft, asdict(report))
    progress(1.0, "done")
    return SHELF.all()[name]


def preview_labels(source: Path | BinaryIO | list[str], shown: str, options: FolderOptions) -> ClassTable:
    """Labels that a zip or folder of class folders would get; no image is opened and nothing is kept.

    Args:
        source: A zip file, its open file, a folder, or the paths of the files of one.
        shown: What the user calls it.
        options: Labels and their order.

    Raises:
        ModelError: if it is not of that form.
    """
    if isinstance(source, Path) and source.is_dir():
        return folder_classes(Path(str(content_root(source.absolute()))), options)
    if isinstance(source, Path):
        with source.open("rb") as file:
            return preview_labels(file, shown, options)
    files, folders = (source, []) if isinstance(source, list) else zip_names(source, SUFFIXES, shown)
    tree = ListedFolder()
    for path, is_file in [*((path, True) for path in files), *((path, False) for path in folders)]:
        tree.add(path, is_file=is_file)
    names = {child.name for part in split_folders(content_root(tree)).all() for child in class_folders(part)}
    try:
        return class_table(names, options.labels, options.order)
    except ModelError as error:
        raise ModelError(f"{shown}: {error}") from None


def _write_samples(draft: Path, pictures: list[tuple[str, bytes]]) -> None:
    folder = draft / _SAMPLES
    folder.mkdir()
    for number, (_, picture) in enumerate(pictures):
        (folder / f"{number:02d}.jpg").write_bytes(picture)
    (folder / "names.json").write_text(json.dumps([name for name, _ in pictures]), encoding="utf-8")


def sample_pictures(name: str) -> list[tuple[str, Path]]:
    """Small pictures of a user's dataset: class and file of each."""
    folder = own_folder("datasets") / name / _SAMPLES
    try:
        names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [(label, folder / f"{number:02d}.jpg") for number, label in enumerate(names)]


def entries() -> dict[str, tuple[DatasetInfo, Callable[..., PhotographDataset]]]:
    """Records and loaders by name, for the registry."""
    return {name: (kept.info, partial(_load, name)) for name, kept in SHELF.all().items()}


def entry(name: str) -> tuple[DatasetInfo, Callable[..., PhotographDataset]] | None:
    """Record and loader of one, or None."""
    kept = SHELF.get(name)
    return None if kept is None else (kept.info, partial(_load, name))


def _load(name: str, view: ImageView, labels: str | None = None) -> PhotographDataset:
    kept = SHELF.get(name)
    if kept is None or not Path(kept.report.folder).is_dir():
        raise ModelError(f"the dataset {name!r} is not here: its folder is gone; remove it and add it again")
    options = kept.report.options if labels is None else replace(kept.report.options, labels=labels)
    load = load_image_values if options.task == REGRESSION else load_image_folder
    return load(Path(kept.report.folder), view, kept.info, options)


def identity(name: str) -> str:
    """Changes when another dataset takes a name; empty where there is none."""
    kept = SHELF.get(name)
    return "" if kept is None else f"{kept.report.identity}-{kept.report.created}-{kept.report.options}"


def paths(name: str) -> tuple[Path, ...]:
    """The folder of its images; empty where it is gone."""
    kept = SHELF.get(name)
    folder = None if kept is None else Path(kept.report.folder)
    return () if folder is None or not folder.is_dir() else (folder,)


def is_here(name: str) -> bool:
    """Whether its images are there."""
    return bool(paths(name))


def code_module() -> str:
    """Name of the module whose code reads the datasets."""
    return __name__


def remove_data(name: str) -> bool:
    """Delete a dataset that a user has added, but never the user's own folder; False where there is none.

    Raises:
        FieldError: if models of the user are scored on it.
    """
    if SHELF.get(name) is None:
        return False
    users = models_on(name)
    if users:
        raise FieldError("name", name, "these models are scored on it; remove them first: " + ", ".join(users))
    return SHELF.remove(name)
