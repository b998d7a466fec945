"""Functions that worker processes run to check what a user has uploaded."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from compression.core.errors import CancelledError, InputError
from compression.jobs.experiment_jobs import side_stage
from compression.library import user_entries, user_onnx
from compression.library.doctor import diagnose_and_keep
from models.datasets.image_folder import FolderOptions


def add_model(
    root: str, job: str, name: str, given: dict[str, Any], path: str | None, file_name: str | None, dataset: str,
    before: bool = True,
) -> bool:
    """Check a model from end to end and keep it; the uploaded file is removed either way."""
    def add(store: object, progress: user_entries.Progress, cancelled: Callable[[], bool]) -> None:
        first = partial(_half, progress, 0.0)
        if path is None or file_name is None:
            user_entries.add_model(name, given, None, dataset, progress=first, cancelled=cancelled)
        else:
            user_entries.add_uploaded_model(
                name, given, Path(path), file_name, dataset, progress=first, cancelled=cancelled
            )
        _examine(name, partial(_half, progress, 0.5), cancelled)

    if not before and path is not None:
        user_entries.discard(Path(path))
    return before and side_stage(root, job, add)


def add_huggingface(
    root: str, job: str, name: str, path: str, file_name: str, dataset: str | None, before: bool = True
) -> bool:
    """Check the classifier of an uploaded folder and keep it; the upload is removed either way."""
    def add(store: object, progress: user_entries.Progress, cancelled: Callable[[], bool]) -> None:
        first = partial(_half, progress, 0.0)
        user_entries.add_uploaded_huggingface(name, Path(path), file_name, dataset, progress=first, cancelled=cancelled)
        _examine(name, partial(_half, progress, 0.5), cancelled)

    if not before:
        user_entries.discard(Path(path))
    return before and side_stage(root, job, add)


def _half(progress: Callable[[float, str], None], start: float, fraction: float, message: str) -> None:
    progress(start + 0.5 * fraction, message)


def _examine(name: str, progress: Callable[[float, str], None], cancelled: Callable[[], bool]) -> None:
    """The import doctor; the model stays where this is cancelled or cannot be done."""
    with contextlib.suppress(InputError, CancelledError):
        diagnose_and_keep(name, progress, cancelled)


def add_data(
    root: str, job: str, name: str, path: str, file_name: str, options: FolderOptions | None, before: bool = True
) -> bool:
    """Unpack, survey and keep a dataset; the uploaded file is removed either way."""
    try:
        return before and side_stage(
            root, job, lambda store, progress, cancelled: user_entries.add_data(
                name, Path(path), options=options, shown=file_name, progress=progress, cancelled=cancelled
            ),
        )
    finally:
        Path(path).unlink(missing_ok=True)


def add_onnx(
    root: str, job: str, name: str, given: dict[str, Any], path: str, file_name: str, dataset: str, before: bool = True
) -> bool:
    """Import an uploaded file in a worker process; the upload is removed either way."""
    try:
        return before and side_stage(
            root, job, lambda store, progress, cancelled: user_onnx.add_onnx(
                name, given, Path(path), dataset, file_name=file_name, progress=progress, cancelled=cancelled
            ),
        )
    finally:
        Path(path).unlink(missing_ok=True)
