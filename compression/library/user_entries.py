"""A user's models and datasets: checked and added, and removed; for the command line and the service."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from compression.core.errors import CancelledError, InputError
from compression.experiments.store import now
from compression.library.uploads import discard, opened
from models.checkpoints import split_script
from models.datasets.class_folders import ClassTable, Labels, Order
from models.datasets.image_files import ImageReading
from models.datasets.image_folder import FolderOptions
from models.errors import FieldError, InterruptedWorkError, ModelError
from models.names import is_taken
from models.preprocessing import preprocessing_text
from models.user import kept_data, kept_huggingface, kept_models, weight_files
from models.user.data_report import DataReport
from models.user.keeping import check_name
from models.user.kept_data import KeptData
from models.user.kept_models import KeptModel

__all__ = [
    "ClassTable", "DataReport", "FolderOptions", "ImageReading", "KeptData", "KeptModel", "Labels", "Order",
    "discard", "find_weights", "preprocessing_text", "split_script",
]
Progress = Callable[[float, str], None]


def _unreported(fraction: float, message: str) -> None:
    del fraction, message


@contextmanager
def as_input_errors(field: str, value: str) -> Iterator[None]:
    """Errors of the models' side as those of wrong input."""
    try:
        yield
    except FieldError as error:
        raise InputError(error.field, error.value, error.allowed) from None
    except ModelError as error:
        raise InputError(field, value, str(error)) from None
    except InterruptedWorkError:
        raise CancelledError("cancelled") from None


def check_new_name(name: str) -> None:
    """Raises an InputError where a name cannot be given to something new."""
    with as_input_errors("name", name):
        check_name(name, is_taken)


def find_weights(text: str, field: str = "weights") -> Path:
    """Where a file lies that the user names; see `models.user.weight_files.find_weights`.

    Raises:
        InputError: if it is a folder without a file that could be meant.
    """
    with as_input_errors(field, text):
        return weight_files.find_weights(text)


def add_model(
    name: str, given: Mapping[str, Any], weights: Path | None, dataset: str | None, *, file_name: str | None = None,
    progress: Progress = _unreported, cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """Check and keep a model; see `models.user.kept_models.add_model`.

    Raises:
        InputError: naming the field, the value and what is allowed; nothing is kept.
        CancelledError: if `cancelled` became true.
    """
    shown = file_name or (weights.name if weights is not None else "none")
    with as_input_errors("weights", shown):
        return kept_models.add_model(
            name, given, weights, dataset, now(), file_name=file_name, progress=progress, cancelled=cancelled
        )


def add_uploaded_model(
    name: str, given: Mapping[str, Any], path: Path, shown: str, dataset: str | None, *,
    progress: Progress = _unreported, cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """Check and keep a model whose files were uploaded: one, a folder, or a zip; they are removed either way.

    Raises what `add_model` does.
    """
    with as_input_errors("weights", shown), opened(path, shown) as weights:
        return add_model(
            name, given, weights, dataset, file_name=shown, progress=progress, cancelled=cancelled
        )


def add_huggingface(
    name: str, folder: Path, given: Mapping[str, Any], dataset: str | None, *, shown: str | None = None,
    progress: Progress = _unreported, cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """Check and keep a classifier of a Hugging Face folder; see `models.user.kept_huggingface.add_huggingface`.

    Raises what `add_model` does.
    """
    with as_input_errors("huggingface", shown or str(folder)):
        return kept_huggingface.add_huggingface(
            name, folder, given, dataset, now(), shown=shown, progress=progress, cancelled=cancelled
        )


def add_uploaded_huggingface(
    name: str, path: Path, shown: str, dataset: str | None, *, progress: Progress = _unreported,
    cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """The same for an uploaded zip, which is removed either way."""
    with as_input_errors("huggingface", shown), opened(path, shown) as folder:
        return add_huggingface(name, folder, {}, dataset, shown=shown, progress=progress, cancelled=cancelled)


def add_data(
    name: str, path: Path, *, options: FolderOptions | None = None, shown: str | None = None,
    progress: Progress = _unreported, cancelled: Callable[[], bool] = bool,
) -> KeptData:
    """Survey and keep a dataset; see `models.user.kept_data.add_data`. Raises what `add_model` does."""
    with as_input_errors("path", shown or path.name):
        return kept_data.add_data(
            name, path, now(), options=options, shown=shown, progress=progress, cancelled=cancelled
        )


def preview_labels(source: Path | BinaryIO | list[str], shown: str, options: FolderOptions) -> ClassTable:
    """Labels that a zip or folder of class folders would get; no image is opened and nothing is kept.

    Args:
        source: A zip file, its open file, a folder, or the paths of the files of one.
        shown: What the user calls it.
        options: Labels and their order.

    Raises:
        InputError: if it is not of that form.
    """
    with as_input_errors("path", shown):
        return kept_data.preview_labels(source, shown, options)


def remove(name: str) -> None:
    """Remove a model or dataset that the user has added; results stay.

    Raises:
        InputError: if there is none of that name, or models are scored on it.
    """
    with as_input_errors("name", name):
        if not kept_models.remove_model(name) and not kept_data.remove_data(name):
            mine = [*kept_models.SHELF.all(), *kept_data.SHELF.all()]
            raise InputError("name", name, "allowed, as added by you: " + (", ".join(mine) or "none so far"))
