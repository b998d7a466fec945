"""What was found in a user's dataset, and how it is found: every image is looked at once."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from models.datasets.class_folders import Labels, split_folders
from models.datasets.image_files import ImageReading, usual_range
from models.datasets.image_folder import FolderOptions, folder_classes, load_image_folder, other_files, skipped_links
from models.datasets.imagenet_classes import COUNT, class_indices
from models.datasets.photographs import PhotographDataset
from models.datasets.registry import DatasetInfo
from models.sources.downloads import Progress
from models.tasks import IMAGES, REGRESSION
from models.user.survey import Survey, samples, survey

SHOWN_SKIPPED = 200


@dataclass(frozen=True)
class DataReport:
    """What was found in a user's dataset.

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
        folders: Names of the class folders, in the order of their labels.
        indices: Label of each.
        warning: What to check of the labels before relying on them; empty if there is nothing.
        options: What the user selected: labels, order and how files are read.
        traits: Number of images by what is remarkable about them; see `Survey`.
        reasons: Why each of `skipped` cannot be read.
        other_files: Number of files of other kinds, by their ending.
        duplicates: Files to score whose bytes are those of a file to calibrate on, too.
        n_validation: Images of a validation split of its own.
        ignored: Split folders without class folders, which are left out.
        links: Number of links that are not followed, as they lead to the data themselves.
        values: Of a regression, smallest, largest, mean and standard deviation of the scored values; such a dataset
            has one group of images instead of classes.
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
    folders: tuple[str, ...] = ()
    indices: tuple[int, ...] = ()
    warning: str = ""
    options: FolderOptions = field(default_factory=FolderOptions)
    traits: dict[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    other_files: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    n_validation: int = 0
    ignored: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    links: int = 0

    @property
    def task(self) -> str:
        """Task of the dataset."""
        return self.options.task

    @property
    def imagenet_names(self) -> bool:
        """Whether models of 1,000 classes may take ImageNet's labels for its class folders."""
        if not self.folders or self.options.labels != Labels.AUTO:
            return False
        return class_indices(list(self.folders)) is not None

    def label_rows(self) -> list[tuple[int, str, str]]:
        """(label, class folder, name of the class) of each class folder."""
        return list(zip(self.indices, self.folders, self.class_names, strict=True))

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
        if self.task == REGRESSION:
            return DatasetInfo(
                name=name, title=f"{name}: values, user data", task=REGRESSION, num_classes=1,
                input_shape=(3, 224, 224), n_train=self.n_train, n_test=self.n_test, source="the user's images",
                license="the user's", metric="R2", resized=True,
            )
        return DatasetInfo(
            name=name, title=f"{name}: {len(self.class_names)} classes, user data", task="image_classification",
            num_classes=COUNT if self.imagenet else len(self.class_names), input_shape=(3, 224, 224),
            n_train=self.n_train, n_test=self.n_test, source="the user's images", license="the user's",
            class_names=() if self.imagenet else self.class_names, resized=True, imagenet_names=self.imagenet_names,
        )


def options_from_record(data: dict[str, Any]) -> FolderOptions:
    """Those of a record; one of an earlier version took ImageNet's labels wherever names allowed it."""
    if "options" not in data:
        return FolderOptions(Labels.IMAGENET if data["imagenet"] else Labels.FOLDERS)
    kept = data["options"]
    reading = ImageReading(bool(kept["reading"]["apply_exif"]), tuple(kept["reading"]["float_range"]))
    return FolderOptions(kept["labels"], kept["order"], reading, kept.get("task", IMAGES))


def share(progress: Progress, start: float, end: float, fraction: float, message: str) -> None:
    """Report a part of the work as a part of the whole."""
    progress(start + (end - start) * fraction, message)


def examined(
    folder: Path, options: FolderOptions, created: str, progress: Progress, cancelled: Callable[[], bool]
) -> tuple[DataReport, list[tuple[str, bytes]]]:
    """What is in a folder, and small JPEG pictures of some images with the names of their classes.

    Args:
        folder: With class or split folders.
        options: What the user selected.
        created: Time, ISO form.
        progress: Called with a fraction and a message.
        cancelled: Polled meanwhile.

    Raises:
        ModelError: if the folder is not of that form, or none of its images can be read.
        InterruptedWorkError: if `cancelled` became true.
    """
    table = folder_classes(folder, options)
    options, looks = surveyed(partial(load_image_folder, folder), options, progress, cancelled)
    data: PhotographDataset = load_image_folder(folder, options=options)
    train, test = data.listings[:2]
    labels = list(table.labels)
    digest = hashlib.sha256("|".join(listing.identity for listing in data.listings).encode()).hexdigest()[:16]
    skipped = {_printable(name): reason for look in looks for name, reason in look.skipped.items()}
    shown = list(skipped)[:SHOWN_SKIPPED]
    report = DataReport(
        folder=str(folder), copied=False, imagenet=table.imagenet,
        class_names=tuple(table.names[label] for label in labels),
        own_splits=train.root != test.root,
        train_images=tuple(looks[0].readable.get(label, 0) for label in labels),
        test_images=tuple(looks[1].readable.get(label, 0) for label in labels),
        skipped=tuple(shown), n_skipped=len(skipped), reasons=tuple(skipped[name] for name in shown),
        smallest=min(look.smallest for look in looks), largest=max(look.largest for look in looks),
        mean=looks[0].mean, std=looks[0].std, identity=digest, created=created,
        folders=table.folders, indices=table.labels, warning=table.warning, options=options,
        traits=summed(looks), other_files=other_files(folder),
        duplicates=len(looks[0].digests & looks[1].digests),
        n_validation=sum(looks[2].readable.values()) if len(looks) > 2 else 0,
        ignored=split_folders(folder).ignored, links=skipped_links(folder),
    )
    return report, [(table.names[label], picture) for label, picture in samples(test, looks[1].skipped)]


def _printable(name: str) -> str:
    """A file's name; bytes that are no UTF-8 are replaced."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def surveyed(
    load: Callable[..., PhotographDataset], options: FolderOptions, progress: Progress, cancelled: Callable[[], bool]
) -> tuple[FolderOptions, list[Survey]]:
    """All splits looked at; once more where float files of the training split turn out to have another range."""
    listings = load(options=options).listings
    total, done = sum(len(listing.names) for listing in listings), 0
    looks: list[Survey] = []
    for listing in listings:
        part = partial(share, progress, done / total, (done + len(listing.names)) / total)
        looks.append(survey(listing, part, cancelled))
        done += len(listing.names)
        span = looks[0].float_range
        found = options.reading.float_range if span is None else usual_range(*span)
        if found != options.reading.float_range:
            reading = replace(options.reading, float_range=found)
            return surveyed(load, replace(options, reading=reading), progress, cancelled)
    return options, looks


def summed(looks: list[Survey]) -> dict[str, int]:
    names = dict.fromkeys(name for look in looks for name in look.traits)
    return {name: sum(look.traits.get(name, 0) for look in looks) for name in names}
