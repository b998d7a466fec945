"""What pages ask of a user's models and datasets: looked up, added by workers, removed; part of the service."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from compression.experiments.store import ResultStore
from compression.jobs.engine import Engine
from compression.library import user_entries, user_jobs
from compression.library.uploads import ZIP, Upload, received, received_files
from compression.library.user_entries import as_input_errors, check_new_name
from models.checkpoints import SUFFIXES
from models.datasets.image_folder import FolderOptions
from models.datasets.registry import DatasetInfo
from models.tasks import classes_of, is_of_images, task_on
from models.user import kept_data, kept_models
from models.user.builders import Architecture, architecture, list_architectures
from models.user.description import source_of, usual_preprocessing
from models.user.kept_data import KeptData
from models.user.kept_models import KeptModel
from models.user.onnx_models import KINDS

_PRIORITY = 80


class UserEntries:
    """Models and datasets that a user has added; part of the service.

    Args:
        store: Where jobs are kept.
        engine: Its workers.
        lost: Called with a job's key and a reason if a worker was lost.
    """

    def __init__(self, store: ResultStore, engine: Engine, lost: Callable[[str, str], None]) -> None:
        self._store, self._engine, self._lost = store, engine, lost

    def architectures(self) -> list[str]:
        """Names of architectures that can be built."""
        return list_architectures()

    def architecture(self, name: str) -> Architecture:
        """What an architecture usually has.

        Raises:
            InputError: if there is none of that name.
        """
        with as_input_errors("architecture", name):
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
        """Datasets that the user has added, by name."""
        return dict(kept_data.SHELF.all())

    def samples(self, name: str) -> list[tuple[str, Path]]:
        """Class and file of some small pictures of a dataset."""
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
            dataset: Dataset to score on.

        Raises:
            InputError: if the name, the description or the kind of the file is wrong.
        """
        check_new_name(name)
        with as_input_errors("architecture", str(given.get("architecture"))):
            kept_models.describe(given, dataset)
        path, shown = received_files(uploads, (*SUFFIXES, ".json", ZIP)) if uploads else (None, None)
        return self._submit(user_jobs.add_model, name, (dict(given), path and str(path), shown, dataset))

    def submit_onnx(
        self, name: str, given: Mapping[str, Any], file: BinaryIO, file_name: str, dataset: str
    ) -> str:
        """Have an ONNX file imported and kept by a worker; returns the job's key at once.

        Args:
            name: What it will be called.
            given: Preprocessing that the user has set.
            file: The uploaded file, or a zip of it and its data.
            file_name: What the user calls it.
            dataset: Dataset to score on.

        Raises:
            InputError: if the name or the kind of the file is wrong.
        """
        check_new_name(name)
        path = received(file, file_name, KINDS)
        return self._submit(user_jobs.add_onnx, name, (dict(given), str(path), file_name, dataset))

    def submit_huggingface(self, name: str, archive: BinaryIO, file_name: str, dataset: str | None) -> str:
        """Have the zip of a Hugging Face folder checked and kept by a worker; returns the job's key at once.

        Raises:
            InputError: if the name is wrong or the file is no zip.
        """
        check_new_name(name)
        path = received(archive, file_name, (ZIP,))
        return self._submit(user_jobs.add_huggingface, name, (str(path), file_name, dataset))

    def submit_data(
        self, name: str, archive: BinaryIO, file_name: str, options: FolderOptions | None = None
    ) -> str:
        """Have a zip surveyed and kept by a worker; returns the job's key at once.

        Raises:
            InputError: if the name is wrong or the file is no zip.
        """
        check_new_name(name)
        path = received(archive, file_name, (".zip",))
        return self._submit(user_jobs.add_data, name, (str(path), file_name, options))

    def _submit(self, function: Callable[..., bool], name: str, arguments: tuple[Any, ...]) -> str:
        job = f"own-{name}-{uuid.uuid4().hex[:8]}"
        self._store.put_job(job, "queued", 0.0, "waiting for a worker")
        self._engine.submit_stages(job, ((function, False),), (name, *arguments), _PRIORITY, self._lost)
        return job

    def takes(self, kind: Architecture, outputs: int, data: DatasetInfo) -> bool:
        """Whether an architecture with so many outputs can be scored on a dataset."""
        if not is_of_images(kind.task):
            return data.task == kind.task and data.has_classes(outputs)
        return is_of_images(data.task) and data.has_classes(classes_of(task_on(data.task, outputs), outputs))

    def remove(self, name: str) -> None:
        """See `remove` of this module."""
        user_entries.remove(name)
