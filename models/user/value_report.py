"""What was found in a user's images with a table of values."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from models.datasets.image_folder import FolderOptions
from models.datasets.image_values import has_splits, load_image_values
from models.sources.downloads import Progress
from models.user.data_report import SHOWN_SKIPPED, DataReport, summed, surveyed
from models.user.survey import samples


def examined_values(
    folder: Path, options: FolderOptions, created: str, progress: Progress, cancelled: Callable[[], bool]
) -> tuple[DataReport, list[tuple[str, bytes]]]:
    """What is in a folder, and small JPEG pictures of some images with their values.

    Args:
        folder: With the table.
        options: How files are read.
        created: Time, ISO form.
        progress: Called with a fraction and a message.
        cancelled: Polled meanwhile.

    Raises:
        ModelError: if the table is missing or wrong, or none of its images can be read.
        InterruptedWorkError: if `cancelled` became true.
    """
    options, looks = surveyed(partial(load_image_values, folder), options, progress, cancelled)
    train, test = load_image_values(folder, options=options).listings
    skipped = {name: reason for look in looks for name, reason in look.skipped.items()}
    shown, values = list(skipped)[:SHOWN_SKIPPED], test.target_tensor().double()
    report = DataReport(
        folder=str(folder), copied=False, imagenet=False, class_names=(),
        own_splits=has_splits((*train.names, *test.names)),
        train_images=(sum(looks[0].readable.values()),), test_images=(sum(looks[1].readable.values()),),
        skipped=tuple(shown), n_skipped=len(skipped), reasons=tuple(skipped[name] for name in shown),
        smallest=min(look.smallest for look in looks), largest=max(look.largest for look in looks),
        mean=looks[0].mean, std=looks[0].std, created=created, options=options, traits=summed(looks),
        identity=hashlib.sha256(f"{train.identity}|{test.identity}".encode()).hexdigest()[:16],
        duplicates=len(looks[0].digests & looks[1].digests),
        values=tuple(float(value) for value in (values.min(), values.max(), values.mean(), values.std())),
    )
    return report, [(f"{value:g}", picture) for value, picture in samples(test, looks[1].skipped)]
