"""A folder of images with a table of values: one number per image, for regression."""

import csv
import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from models.datasets.decoded import ImageListing
from models.datasets.image_files import SUFFIXES, ImageReading
from models.datasets.image_folder import FolderOptions, divided
from models.datasets.photographs import PhotographDataset
from models.datasets.registry import DatasetInfo
from models.datasets.views import ImageView
from models.errors import ModelError
from models.tasks import REGRESSION

TABLE = "labels.csv"
_COLUMNS = ("file", "value")
_MOST_ROWS, _LARGEST_TABLE = 2_000_000, 200_000_000
_TRAIN, _TEST = ("train", "training"), ("val", "valid", "validation", "test")


def load_image_values(
    path: Path, view: ImageView | None = None, info: DatasetInfo | None = None, options: FolderOptions | None = None
) -> PhotographDataset:
    """A dataset from a folder that holds ``labels.csv`` with the columns file and value.

    Files are named relative to the table. Where they lie in ``train/`` and ``val/`` (or ``test/``), these are the
    splits; else a fixed fifth, at most 2,048, evenly spread over the values, is kept for calibration and never scored.

    Args:
        path: The folder.
        view: How images are resized; `ImageView()` by default.
        info: Record to use; its counts are replaced by what is there. Made up by default.
        options: How files are read; `FolderOptions()` by default.

    Raises:
        ModelError: if there is no such table, or one of its rows is wrong.
    """
    rows = read_table(path)
    reading = (options or FolderOptions()).reading
    parts, view = split_rows(path, rows, reading), view or ImageView()
    record = info or DatasetInfo(
        name=path.name, title=path.name, task=REGRESSION, num_classes=1, input_shape=(), n_train=0, n_test=0,
        source="a folder of the user", license="the user's", metric="R2",
    )
    record = replace(
        record, n_train=len(parts[0].names), n_test=len(parts[1].names), resized=True,
        input_shape=(3, view.crop_size, view.crop_size),
    )
    return PhotographDataset(record, parts[0], parts[1], view, flips=False)


def split_rows(path: Path, rows: dict[str, float], reading: ImageReading) -> list[ImageListing]:
    """Files for training and for scoring.

    Raises:
        ModelError: if all values of one part are equal, so that R2 is not defined.
    """
    if has_splits(rows):
        groups = [[name for name in rows if (_top(name) in _TEST) == test] for test in (False, True)]
        parts = [ImageListing(path, tuple(names), tuple(rows[name] for name in names), reading) for names in groups]
    else:
        parts = divided(ImageListing(path, tuple(rows), tuple(rows.values()), reading))
    for what, part in zip(("to calibrate on", "to score"), parts, strict=True):
        if len(set(part.targets)) < 2:
            raise ModelError(f"{path / TABLE}: all values {what} are equal; R2 needs at least two different ones")
    return parts


def _top(name: str) -> str:
    return PurePosixPath(name).parts[0].lower()


def has_splits(names: Iterable[str]) -> bool:
    """Whether all files lie in folders for training and for scoring."""
    tops = {_top(name) for name in names}
    return tops <= {*_TRAIN, *_TEST} and bool(tops & {*_TRAIN}) and bool(tops & {*_TEST})


def read_table(path: Path) -> dict[str, float]:
    """Value by file name, in the order of the table.

    Raises:
        ModelError: naming the line, what it says and what is needed.
    """
    table = path / TABLE
    if not table.is_file():
        raise ModelError(f"{path}: a table {TABLE} with the columns file,value is needed")
    if table.stat().st_size > _LARGEST_TABLE:
        raise ModelError(f"{table}: it has more than {_LARGEST_TABLE // 1_000_000} MB")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = _rows(csv.DictReader(file), table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ModelError(f"{table}: it is no CSV file in UTF-8: {error}") from None
    if not rows:
        raise ModelError(f"{table}: it has no rows")
    return rows


def _rows(reader: "csv.DictReader[str]", table: Path) -> dict[str, float]:
    header = tuple(name.strip().lower() for name in reader.fieldnames or ())
    if header[:2] != _COLUMNS:
        raise ModelError(f"{table}: its first line is {','.join(header)[:80]!r}; file,value is needed")
    reader.fieldnames = header
    found: dict[str, float] = {}
    for row in reader:
        name, line = _checked_name(row["file"], table, reader.line_num), reader.line_num
        if name in found:
            raise ModelError(f"{table}: line {line}: {name!r} has a value already")
        try:
            value = float(row["value"])
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise ModelError(f"{table}: line {line}: value {row['value']!r}; a finite number is needed")
        found[name] = value
        if len(found) > _MOST_ROWS:
            raise ModelError(f"{table}: it has more than {_MOST_ROWS:,} rows")
    return found


def _checked_name(text: str | None, table: Path, line: int) -> str:
    """A file name below the table's folder: nothing above it, and an image by its ending."""
    path = PurePosixPath((text or "").strip().replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or ":" in str(path) or not path.parts
    if outside or path.suffix.lower() not in SUFFIXES:
        raise ModelError(f"{table}: line {line}: file {text!r}; an image below the table's folder is needed")
    return path.as_posix()


def with_table(folder: Path) -> Path:
    """The folder that holds the table: this one, or the only folder in it, as archives often have it."""
    while not (folder / TABLE).is_file():
        children = [child for child in folder.iterdir() if not child.name.startswith((".", "__MACOSX"))]
        if len(children) != 1 or not children[0].is_dir():
            break
        folder = children[0]
    return folder
