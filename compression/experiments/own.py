"""A user's own models and data sets: added, looked up and removed; for the command line and the service."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from compression.errors import CancelledError, InputError
from compression.experiments import own_jobs, user_onnx
from compression.experiments.own_uploads import ZIP, Upload, discard, opened, received, received_files
from compression.experiments.store import ResultStore, now
from models import registry
from models.checkpoints import SUFFIXES, split_script
from models.datasets.class_folders import ClassTable, Labels, Order
from models.datasets.image_files import ImageReading
from models.datasets.image_folder import FolderOptions
from models.datasets.registry import DatasetInfo
from models.errors import InterruptedWorkError, ModelError
from models.own import kept_data, kept_huggingface, kept_models
from models.own.builders import Architecture, architecture, list_architectures
from models.own.data_report import DataReport
from models.own.description import source_of, usual_preprocessing
from models.own.keeping import FieldError, check_name
from models.own.kept_data import KeptData
from models.own.kept_models import KeptModel
from models.preprocessing import preprocessing_text
from models.tasks import classes_of, is_of_images, task_on

if TYPE_CHECKING:
    from compression.experiments.engine import Engine

__all__ = [
    "ClassTable", "DataReport", "FolderOptions", "ImageReading", "KeptData", "KeptModel", "Labels", "Order", "Own",
    "discard", "find_weights", "preprocessing_text", "split_script",
]
Progress = Callable[[float, str], None]
_PRIORITY = 80


def _unreported(fraction: float, message: str) -> None:
    del fraction, message


@contextmanager
def _in_our_words(field: str, value: str) -> Iterator[None]:
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
    with _in_our_words("name", name):
        check_name(name, registry.is_taken)


def find_weights(text: str, field: str = "weights") -> Path:
    """Where a file lies that the user names; see `models.own.kept_models.find_weights`.

    Raises:
        InputError: if it is a folder without a file that could be meant.
    """
    with _in_our_words(field, text):
        return kept_models.find_weights(text)


def add_model(
    name: str, given: Mapping[str, Any], weights: Path | None, dataset: str | None, *, file_name: str | None = None,
    progress: Progress = _unreported, cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """Check and keep a model; see `models.own.kept_models.add_model`.

    Raises:
        InputError: naming the field, the value and what is allowed; nothing is kept.
        CancelledError: if `cancelled` became true.
    """
    shown = file_name or (weights.name if weights is not None else "none")
    with _in_our_words("weights", shown):
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
    with _in_our_words("weights", shown), opened(path, shown) as weights:
        return add_model(
            name, given, weights, dataset, file_name=shown, progress=progress, cancelled=cancelled
        )


def add_huggingface(
    name: str, folder: Path, given: Mapping[str, Any], dataset: str | None, *, shown: str | None = None,
    progress: Progress = _unreported, cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """Check and keep a classifier of a Hugging Face folder; see `models.own.kept_huggingface.add_huggingface`.

    Raises what `add_model` does.
    """
    with _in_our_words("huggingface", shown or str(folder)):
        return kept_huggingface.add_huggingface(
            name, folder, given, dataset, now(), shown=shown, progress=progress, cancelled=cancelled
        )


def add_uploaded_huggingface(
    name: str, path: Path, shown: str, dataset: str | None, *, progress: Progress = _unreported,
    cancelled: Callable[[], bool] = bool,
) -> KeptModel:
    """The same for an uploaded zip, which is removed either way."""
    with _in_our_words("huggingface", shown), opened(path, shown) as folder:
        return add_huggingface(name, folder, {}, dataset, shown=shown, progress=progress, cancelled=cancelled)


def add_data(
    name: str, path: Path, *, options: FolderOptions | None = None, shown: str | None = None,
    progress: Progress = _unreported, cancelled: Callable[[], bool] = bool,
) -> KeptData:
    """Survey and keep a data set; see `models.own.kept_data.add_data`. Raises what `add_model` does."""
    with _in_our_words("path", shown or path.name):
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
    with _in_our_words("path", shown):
        return kept_data.preview_labels(source, shown, options)


def remove(name: str) -> None:
    """Remove a model or data set that the user has added; results stay.

    Raises:
        InputError: if there is none of that name, or models are scored on it.
    """
    with _in_our_words("name", name):
        if not kept_models.remove_model(name) and not kept_data.remove_data(name):
            mine = [*kept_models.SHELF.all(), *kept_data.SHELF.all()]
            raise InputError("name", name, "allowed, as added by you: " + (", ".join(mine) or "none so far"))


class Own:
    """A user's own things; part of the service.

    Args:
        store: Where jobs are kept.
        engine: Its workers.
        lost: Called with a job's key and a reason if a worker was lost.
    """

    def __init__(self, store: ResultStore, engine: "Engine", lost: Callable[[str, str], None]) -> None:
        self._store, self._engine, self._lost = store, engine, lost

    def architectures(self) -> list[str]:
        """Names of architectures that can be built."""
        return list_architectures()

    def architecture(self, name: str) -> Architecture:
        """What an architecture usually has.

        Raises:
            InputError: if there is none of that name.
        """
        with _in_our_words("architecture", name):
            return architecture(name)

    def usual_preprocessing(self, kind: Architecture, size: int) -> dict[str, Any]:
        """Preprocessing that an architecture's metadata state, for a side of the input in pixels."""
        return usual_preprocessing(kind, size)

    def preprocessing_source(self, kind: Architecture, used: Mapping[str, Any]) -> str:
        """Where a preprocessing comes from, in words."""
        return source_of(kind, used)

    def models(self) -> dict[str, KeptModel]:
        """Models that the user has added, by name."""
        return dict(kept_models.SHELF.all())

    def datasets(self) -> dict[str, KeptData]:
        """Data sets that the user has added, by name."""
        return dict(kept_data.SHELF.all())

    def samples(self, name: str) -> list[tuple[str, Path]]:
        """Class and file of some small pictures of a data set."""
        return kept_data.sample_pictures(name)

    def submit_model(
        self, name: str, given: Mapping[str, Any], uploads: Sequence[Upload], dataset: str
    ) -> str:
        """Have a model checked and kept by a worker; returns the job's key at once.

        Args:
            name: What it will be called.
            given: Its description, the weights left out.
            uploads: Names and contents of the files: one checkpoint, a zip of one, or shards and their index; none for
                the weights of the registered model of the architecture's name.
            dataset: Data set to score on.

        Raises:
            InputError: if the name, the description or the kind of the file is wrong.
        """
        check_new_name(name)
        with _in_our_words("architecture", str(given.get("architecture"))):
            kept_models.describe(given, dataset)
        path, shown = received_files(uploads, (*SUFFIXES, ".json", ZIP)) if uploads else (None, None)
        return self._submit(own_jobs.add_model, name, (dict(given), path and str(path), shown, dataset))

    def submit_onnx(
        self, name: str, given: Mapping[str, Any], file: BinaryIO, file_name: str, dataset: str
    ) -> str:
        """Have an ONNX file imported and kept by a worker; returns the job's key at once.

        Args:
            name: What it will be called.
            given: Preprocessing that the user has set.
            file: The uploaded file, or a zip of it and its data.
            file_name: What the user calls it.
            dataset: Data set to score on.

        Raises:
            InputError: if the name or the kind of the file is wrong.
        """
        check_new_name(name)
        path = received(file, file_name, user_onnx.KINDS)
        return self._submit(user_onnx.add_job, name, (dict(given), str(path), file_name, dataset))

    def submit_huggingface(self, name: str, archive: BinaryIO, file_name: str, dataset: str | None) -> str:
        """Have the zip of a Hugging Face folder checked and kept by a worker; returns the job's key at once.

        Raises:
            InputError: if the name is wrong or the file is no zip.
        """
        check_new_name(name)
        path = received(archive, file_name, (ZIP,))
        return self._submit(own_jobs.add_huggingface, name, (str(path), file_name, dataset))

    def submit_data(
        self, name: str, archive: BinaryIO, file_name: str, options: FolderOptions | None = None
    ) -> str:
        """Have a zip surveyed and kept by a worker; returns the job's key at once.

        Raises:
            InputError: if the name is wrong or the file is no zip.
        """
        check_new_name(name)
        path = received(archive, file_name, (".zip",))
        return self._submit(own_jobs.add_data, name, (str(path), file_name, options))

    def _submit(self, function: Callable[..., bool], name: str, arguments: tuple[Any, ...]) -> str:
        job = f"own-{name}-{uuid.uuid4().hex[:8]}"
        self._store.put_job(job, "queued", 0.0, "waiting for a worker")
        self._engine.submit_stages(job, ((function, False),), (name, *arguments), _PRIORITY, self._lost)
        return job

    def takes(self, kind: Architecture, outputs: int, data: DatasetInfo) -> bool:
        """Whether an architecture with so many outputs can be scored on a data set."""
        if not is_of_images(kind.task):
            return data.task == kind.task and data.has_classes(outputs)
        return is_of_images(data.task) and data.has_classes(classes_of(task_on(data.task, outputs), outputs))

    def remove(self, name: str) -> None:
        """See `remove` of this module."""
        remove(name)
