"""What is told of a user's dataset before anybody trusts a figure that is measured on it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compression.core.intervals import wilson_interval
from models.datasets.imagenet_classes import COUNT
from models.tasks import BINARY, REGRESSION, data_task, is_of_images

if TYPE_CHECKING:
    from models.info import ModelInfo
    from models.user.kept_data import DataReport

FEW_PER_CLASS, FEW_TEST, FEW_TRAINING = 30, 100, 128
_ASSUMED = 0.9
_OFF = 0.15


@dataclass(frozen=True)
class Remark:
    """One remark.

    Attributes:
        serious: Whether figures cannot be trusted because of it.
        text: A sentence.
    """

    serious: bool
    text: str


def remarks_on(report: "DataReport") -> list[Remark]:
    """What a user should know of the dataset, the serious remarks first."""
    found = [*_few(report), *_gaps(report), *_labels(report), *_files(report)]
    if report.n_skipped:
        shown = zip(report.skipped[:5], report.reasons[:5] or ("",) * 5, strict=False)
        names = ", ".join(f"{name} ({reason})" if reason else name for name, reason in shown)
        names += " and others" if report.n_skipped > 5 else ""
        found.append(Remark(False, f"{report.n_skipped} files cannot be read as images and are left out: {names}."))
    if report.duplicates:
        text = f"{report.duplicates} of the scored files are in the calibration split, too: accuracy may be too high."
        found.append(Remark(True, text))
    if report.n_validation:
        text = f"The {report.n_validation} images of the validation folder choose between candidates; test is scored."
        found.append(Remark(False, text))
    if report.ignored:
        names = ", ".join(report.ignored)
        found.append(Remark(False, f"These folders hold no class folders and are left out: {names}."))
    if not report.own_splits:
        text = "a fixed, stratified fifth of the images calibrates, the others are scored"
        found.append(Remark(False, f"There are no folders train and val: {text}."))
    return sorted(found, key=lambda remark: not remark.serious)


def _labels(report: "DataReport") -> list[Remark]:
    """What to check of the labels before a figure counts."""
    found = []
    if report.warning:
        found.append(Remark(True, f"{report.warning} Check the table of labels."))
    if report.imagenet:
        found.append(Remark(False, f"Labels are ImageNet's indices: {len(report.folders)} of its 1,000 classes occur."))
    elif report.imagenet_names:
        text = "Folders have names of ImageNet's classes: labels count from 0, and are ImageNet's for models of 1,000"
        found.append(Remark(False, f"{text} classes."))
    return found


def _files(report: "DataReport") -> list[Remark]:
    """What was made of unusual files."""
    low, high = report.options.reading.float_range
    turned = "turned upright" if report.options.reading.apply_exif else "left as stored, as torchvision does it"
    words = {
        "rotated": f"name an orientation in their EXIF data; they are {turned}",
        "transparent": "have transparency, which is dropped as torchvision's loader does it",
        "several_frames": "have several frames or pages; the first is used",
        "sixteen_bit": "have more than 8 bits per sample; their full range is scaled to 0 to 255",
        "float": f"have float samples; {low:g} to {high:g} is scaled to 0 to 255 in all of them",
    }
    found = [Remark(False, f"{count} images {words[trait]}.") for trait, count in report.traits.items()]
    if report.links:
        found.append(Remark(False, f"Links to the data themselves are not followed: {report.links}."))
    if report.other_files:
        names = ", ".join(f"{suffix} ({count})" for suffix, count in sorted(report.other_files.items()))
        found.append(Remark(False, f"Files of other kinds are left out: {names}."))
    return found


def what_is_in(report: "DataReport") -> str:
    """Classes or values of a dataset, in words."""
    if report.task != REGRESSION:
        return f"{len(report.class_names)} classes"
    low, high, mean, std = report.values
    return f"values from {low:.4g} to {high:.4g} (mean {mean:.4g}, deviation {std:.4g})"


def output_words(model: "ModelInfo") -> str:
    """Outputs of a model, in words."""
    return {BINARY: "one logit for two classes", REGRESSION: "one value"}.get(
        model.task, f"{model.num_classes} classes"
    )


def _few(report: "DataReport") -> list[Remark]:
    """Too few images to trust, with the interval that the accuracy will have."""
    total, smallest = report.n_test, min(report.test_images)
    found = []
    if report.task == REGRESSION:
        if total < FEW_TEST:
            found.append(Remark(True, f"Too few to trust: {total} images to score."))
    elif total < FEW_TEST or smallest < FEW_PER_CLASS:
        how = f"{total} images to score, {smallest} of the smallest class"
        text = f"Too few to trust: {how}. {interval_words(total)}"
        found.append(Remark(True, text))
    if report.n_train < FEW_TRAINING:
        text = f"Only {report.n_train} images to calibrate and train on: ranges and corrections will be rough."
        found.append(Remark(False, text))
    return found


def interval_words(n: int) -> str:
    """How wide the interval of an accuracy is that is measured on so many images."""
    right = round(_ASSUMED * n)
    low, high = wilson_interval(right, n)
    return (
        f"If {right} of {n} are right, the 95 % interval is {100 * low:.0f} to {100 * high:.0f} %, "
        f"{100 * (high - low):.0f} points wide."
    )


def _gaps(report: "DataReport") -> list[Remark]:
    found: list[Remark] = []
    if report.task == REGRESSION:
        return found
    for what, counts in (("to score", report.test_images), ("to calibrate on", report.train_images)):
        empty = [name for name, count in zip(report.class_names, counts, strict=True) if count == 0]
        if empty:
            shown = ", ".join(empty[:5]) + (" and others" if len(empty) > 5 else "")
            text = f"{len(empty)} classes have no image {what}: {shown}. Each keeps its label."
            found.append(Remark(what == "to score", text))
    return found


def remarks_on_pair(report: "DataReport", model: "ModelInfo") -> list[Remark]:
    """What a user should know of a model on a dataset; a serious remark says that they do not fit."""
    classes = COUNT if report.imagenet else len(report.class_names)
    if not is_of_images(model.task):
        return [Remark(True, f"{model.name} takes no images.")]
    if data_task(model.task) != report.task:
        return [Remark(True, f"{model.name} gives {output_words(model)}, the dataset has {what_is_in(report)}.")]
    found = []
    fits = model.num_classes in (classes, COUNT if report.imagenet_names else classes)
    if report.task != REGRESSION and not fits:
        found.append(Remark(True, f"{model.name} has {model.num_classes} classes, the dataset has {classes}."))
    size = model.input_shape[-1]
    if report.smallest < size:
        found.append(Remark(False, f"Images of {report.smallest} pixels are enlarged to the {size} of {model.name}."))
    if len(model.mean) == len(report.mean):
        off = max(abs(own - theirs) for own, theirs in zip(model.mean, report.mean, strict=True))
        if off > _OFF:
            means = " instead of ".join("(" + ", ".join(f"{v:.2f}" for v in m) + ")" for m in (report.mean, model.mean))
            found.append(Remark(False, f"The images' mean is {means}: check the normalisation of {model.name}."))
    return found
