"""Classifiers of users from folders that transformers has written, kept as other models are."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from models.datasets import dataset_info, sst2
from models.errors import FieldError
from models.huggingface import HuggingFaceModel, read_folder
from models.huggingface.networks import IMAGES, PREFIX
from models.huggingface.preprocessing import FILE
from models.names import is_taken
from models.sources.downloads import Progress, unreported
from models.user import kept_models, kept_text
from models.user.builders import Architecture
from models.user.description import Description, describe
from models.user.keeping import check_name
from models.user.kept_models import KeptModel
from models.user.metadata import family_of

_TEXT_LABELS = sst2.INFO.class_names


def add_huggingface(
    name: str, folder: Path, given: Mapping[str, Any], dataset: str | None, created: str, *,
    shown: str | None = None, progress: Progress = unreported, cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """Check a classifier from end to end and keep it; where anything is wrong, nothing is kept.

    Args:
        name: What it will be called.
        folder: With config.json and weights; of images preprocessor_config.json, of text tokenizer.json.
        given: Preprocessing that takes the place of what the folder states; fields of `description.FIELDS`.
        dataset: Dataset to score on; of text "sst2".
        created: Time, ISO form.
        shown: What the user calls the folder.
        progress: Called with a fraction and a message.
        cancelled: Polled between the steps.

    Raises:
        FieldError: naming the field, the value and what is allowed.
        ModelError: if the folder cannot be read, or its weights do not fit its configuration.
    """
    check_name(name, is_taken)
    if not folder.is_dir():
        raise FieldError("huggingface", str(folder), "a folder with config.json and weights is needed")
    shown = shown or folder.name
    source = read_folder(folder)
    wanted = {key: value for key, value in given.items() if value is not None and key not in ("architecture", "ema")}
    description = description_of(source, wanted, dataset, kept_text.dataset_name(name))
    files = {} if source.tokenizer is None else {kept_text.TOKENIZER: source.tokenizer}

    def checkpoint() -> kept_models.Checkpoint:
        for path in kept_models.weight_files(folder):
            kept_models.check_file(path, path.name)
        return source.checkpoint(shown)

    return kept_models.keep(name, description, checkpoint, created, shown, files, progress, cancelled)


def description_of(
    source: HuggingFaceModel, given: Mapping[str, Any], dataset: str | None, text_dataset: str
) -> Description:
    """The checked description of a classifier.

    Args:
        source: What its folder holds.
        given: Preprocessing that takes the place of what the folder states.
        dataset: Dataset to score on.
        text_dataset: Name of SST-2 in its word pieces, of text.

    Raises:
        FieldError: naming the field, the value and what is allowed.
    """
    if source.task == IMAGES:
        kind = _of_images(source, given)
        description = describe({"architecture": kind.name, **given}, dataset, kind=kind)
        _check_labels(source.labels, dataset_info(description.dataset).class_names, description.dataset)
        return description
    kind = _of_text(source, dataset)
    return describe({"architecture": kind.name, **given}, text_dataset, known=False, kind=kind)


def _of_images(source: HuggingFaceModel, wanted: Mapping[str, Any]) -> Architecture:
    stated, size = source.preprocessing, source.config.get("image_size")
    if stated is None and not {"mean", "std"} <= wanted.keys():
        raise FieldError(FILE, None, "the folder lacks this file; give mean and std (and input_size) instead")
    side = stated.input_size if stated else int(wanted.get("input_size") or (size if isinstance(size, int) else 224))
    kind = str(source.config["model_type"])
    return Architecture(
        f"{PREFIX}{kind}", source.task, family_of(kind), "", (source.channels, side, side), "float32",
        source.num_classes, stated.mean if stated else (), stated.std if stated else (),
        stated.scale if stated else 255.0, stated.interpolation if stated else "bilinear",
        stated.resize_size if stated else side, stated.source if stated else "config.json",
        config=source.config, labels=source.labels,
    )


def _of_text(source: HuggingFaceModel, dataset: str | None) -> Architecture:
    if dataset not in (None, "", sst2.INFO.name):
        raise FieldError("dataset", dataset, "a text classifier of a folder is scored on sst2, by its own tokenizer")
    if source.num_classes != sst2.INFO.num_classes:
        reason = f"it has {source.num_classes} classes; text is scored on sst2, of {sst2.INFO.num_classes}"
        raise FieldError("id2label", list(source.labels), reason)
    _check_labels(tuple(label.lower() for label in source.labels), _TEXT_LABELS, sst2.INFO.name)
    longest = int(source.config.get("max_position_embeddings") or sst2.LENGTH)
    return Architecture(
        f"{PREFIX}{source.config['model_type']}", source.task, "transformer", "", (min(sst2.LENGTH, longest),), "int64",
        source.num_classes, (), (), config=source.config, labels=source.labels,
    )


def _check_labels(labels: tuple[str, ...], names: tuple[str, ...], dataset: str) -> None:
    """Refuse a dataset of the same classes in another order, whose accuracy would be that of chance.

    Raises:
        FieldError: naming the first class that differs.
    """
    if labels != names and sorted(labels) == sorted(names):
        index = next(i for i, (a, b) in enumerate(zip(labels, names, strict=True)) if a != b)
        reason = f"its class {index} is {names[index]!r}, id2label's is {labels[index]!r}: the order must be the same"
        raise FieldError("dataset", dataset, reason)
