"""Data sets that users have added: folders of class folders, surveyed and kept under a name."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from models.datasets.image_folder import SUFFIXES, load_image_folder
from models.datasets.imagenet_classes import COUNT
from models.datasets.photographs import PhotographDataset
from models.datasets.registry import DatasetInfo
from models.datasets.views import ImageView
from models.downloads import Progress, unreported
from models.errors import ModelError
from models.own.keeping import FieldError, Shelf, check_name, folder_bytes, new_folder, own_folder, write_record
from models.own.survey import samples, survey
from models.unpacking import ZipLimits, unpack_zip

_SHOWN_SKIPPED = 200
_LEAST_TRAIN, _LEAST_TEST = 3, 5
_IMAGES, _SAMPLES = "images", "samples"


@dataclass(frozen=True)
class DataReport:
    """What was found in a user's data set.

    Attributes:
        folder: Where its class folders are.
        copied: Whether they are in the cache folder; else they are where the user has them.
        class_names: Names of the classes that occur, in the order of their labels.
        imagenet: Whether its labels are ImageNet's indices.
        own_splits: Whether it came with folders train and val; else a fixed stratified fifth calibrates.
        train_images: Readable images per class that calibrate and train.
        test_images: Readable images per class that are scored.
        skipped: Names of files that cannot be read, the first 200.
        n_skipped: How many there are.
        smallest: Smallest side of an image, pixels.
        largest: Largest side, pixels.
        mean: Mean per channel of the training images, 0 to 1.
        std: Standard deviation per channel.
        identity: Changes with the files.
        created: When it was added, ISO form.
    """

    folder: str
    copied: bool
    class_names: tuple[str, ...]
    imagenet: bool
    own_splits: bool
    train_images: tuple[int, ...]
    test_images: tuple[int, ...]
    skipped: tuple[str, ...]
    n_skipped: int
    smallest: int
    largest: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    identity: str
    created: str

    @property
    def n_train(self) -> int:
        """Readable training images."""
        return sum(self.train_images)

    @property
    def n_test(self) -> int:
        """Readable test images."""
        return sum(self.test_images)

    def info(self, name: str) -> DatasetInfo:
        """Its record in the registry."""
        return DatasetInfo(
            name=name, title=f"{name}: {len(self.class_names)} classes of your own", task="image_classification",
            num_classes=COUNT if self.imagenet else len(self.class_names), input_shape=(3, 224, 224),
            n_train=self.n_train, n_test=self.n_test, source="the user's images", license="the user's",
            class_names=() if self.imagenet else self.class_names, resized=True,
        )


@dataclass(frozen=True)
class KeptData:
    """A user's data set.

    Attributes:
        info: Its record in the registry.
        report: What was found in it.
        size_bytes: Its files in the cache folder.
    """

    info: DatasetInfo
    report: DataReport
    size_bytes: int


def _read(data: dict[str, Any], folder: Path) -> KeptData:
    report = DataReport(**{key: tuple(value) if isinstance(value, list) else value for key, value in data.items()})
    if report.copied:
        report = replace(report, folder=str(folder / report.folder))
    return KeptData(report.info(folder.name), report, folder_bytes(folder))


SHELF = Shelf("datasets", _read)


def add_data(
    name: str, source: Path, created: str, *, shown: str | None = None, limits: ZipLimits | None = None,
    progress: Progress = unreported, cancelled: Callable[[], bool] = bool,
) -> KeptData:
    """Look at every image of a zip or folder of class folders, and keep the data set under a name.

    A zip's images are copied into the cache folder; a folder's stay where they are.

    Args:
        name: What it will be called.
        source: A zip file or a folder.
        created: Time, ISO form.
        shown: What the user calls it, if not its own name.
        limits: Of a zip.
        progress: Called with a fraction and a message.
        cancelled: Polled meanwhile.

    Raises:
        FieldError: if the name is taken or no name, or the source is neither a zip nor a folder.
        ModelError: if it is not of that form, or the zip is refused; nothing is kept.
        InterruptedWorkError: if `cancelled` became true; nothing is kept.
    """
    from models.registry import is_taken

    check_name(name, is_taken)
    shown = shown or source.name
    if not source.is_dir() and not source.is_file():
        raise FieldError("path", str(source), "an existing zip file or folder is needed")
    with new_folder("datasets", name) as draft:
        copied = source.is_file()
        if copied:
            (draft / _IMAGES).mkdir()
            report_unpacking = partial(_share, progress, 0.0, 0.3)
            unpack_zip(source, draft / _IMAGES, SUFFIXES, shown, limits, report_unpacking, cancelled)
        folder = _with_classes(draft / _IMAGES if copied else source.absolute())
        try:
            report, pictures = _examined(folder, created, partial(_share, progress, 0.3, 1.0), cancelled)
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


def _share(progress: Progress, start: float, end: float, fraction: float, message: str) -> None:
    progress(start + (end - start) * fraction, message)


def _with_classes(folder: Path) -> Path:
    """Archives mostly hold one folder around everything."""
    while True:
        children = [child for child in folder.iterdir() if not child.name.startswith(".")]
        if len(children) != 1 or not children[0].is_dir() or not any(c.is_dir() for c in children[0].iterdir()):
            return folder
        folder = children[0]


def _examined(
    folder: Path, created: str, progress: Progress, cancelled: Callable[[], bool]
) -> tuple[DataReport, list[tuple[str, bytes]]]:
    data: PhotographDataset = load_image_folder(folder)
    train, test = data.listings
    share = len(train.names) / (len(train.names) + len(test.names))
    looks = (
        survey(train, partial(_share, progress, 0.0, share), cancelled),
        survey(test, partial(_share, progress, share, 1.0), cancelled),
    )
    names = data.info.class_names
    imagenet = data.info.num_classes == COUNT
    labels = sorted({*train.targets, *test.targets}) if imagenet else list(range(len(names)))
    digest = hashlib.sha256(f"{train.identity}|{test.identity}".encode()).hexdigest()[:16]
    skipped = (*looks[0].skipped, *looks[1].skipped)
    report = DataReport(
        folder=str(folder), copied=False, imagenet=imagenet,
        class_names=tuple(names[label] for label in labels),
        own_splits=train.root != test.root,
        train_images=tuple(looks[0].readable.get(label, 0) for label in labels),
        test_images=tuple(looks[1].readable.get(label, 0) for label in labels),
        skipped=skipped[:_SHOWN_SKIPPED], n_skipped=len(skipped),
        smallest=min(look.smallest for look in looks), largest=max(look.largest for look in looks),
        mean=looks[0].mean, std=looks[0].std, identity=digest, created=created,
    )
    return report, [(names[label], picture) for label, picture in samples(test, looks[1].skipped)]


def _write_samples(draft: Path, pictures: list[tuple[str, bytes]]) -> None:
    folder = draft / _SAMPLES
    folder.mkdir()
    for number, (_, picture) in enumerate(pictures):
        (folder / f"{number:02d}.jpg").write_bytes(picture)
    (folder / "names.json").write_text(json.dumps([name for name, _ in pictures]), encoding="utf-8")


def sample_pictures(name: str) -> list[tuple[str, Path]]:
    """Small pictures of a user's data set: class and file of each."""
    folder = own_folder("datasets") / name / _SAMPLES
    try:
        names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [(label, folder / f"{number:02d}.jpg") for number, label in enumerate(names)]


def entries() -> dict[str, tuple[DatasetInfo, Callable[[ImageView], PhotographDataset]]]:
    """Records and loaders by name, for the registry."""
    return {name: (kept.info, partial(_load, name)) for name, kept in SHELF.all().items()}


def entry(name: str) -> tuple[DatasetInfo, Callable[[ImageView], PhotographDataset]] | None:
    """Record and loader of one, or None."""
    kept = SHELF.get(name)
    return None if kept is None else (kept.info, partial(_load, name))


def _load(name: str, view: ImageView) -> PhotographDataset:
    kept = SHELF.get(name)
    if kept is None or not Path(kept.report.folder).is_dir():
        raise ModelError(f"the data set {name!r} is not here: its folder is gone; remove it and add it again")
    return load_image_folder(Path(kept.report.folder), view, kept.info)


def identity(name: str) -> str:
    """Changes when another data set takes a name; empty where there is none."""
    kept = SHELF.get(name)
    return "" if kept is None else f"{kept.report.identity}-{kept.report.created}"


def paths(name: str) -> tuple[Path, ...]:
    """The folder of its images; empty where it is gone."""
    kept = SHELF.get(name)
    folder = None if kept is None else Path(kept.report.folder)
    return () if folder is None or not folder.is_dir() else (folder,)


def is_here(name: str) -> bool:
    """Whether its images are there."""
    return bool(paths(name))


def remove_data(name: str) -> bool:
    """Delete a data set that a user has added, but never the user's own folder; False where there is none.

    Raises:
        FieldError: if models of the user are scored on it.
    """
    from models.own.kept_models import models_on

    if SHELF.get(name) is None:
        return False
    users = models_on(name)
    if users:
        raise FieldError("name", name, "these models are scored on it; remove them first: " + ", ".join(users))
    return SHELF.remove(name)
