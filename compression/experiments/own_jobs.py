"""Functions that worker processes run to check what a user has uploaded."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compression.experiments.jobs import side_stage

if TYPE_CHECKING:
    from models.datasets.image_folder import FolderOptions


def add_model(
    root: str, job: str, name: str, given: dict[str, Any], path: str | None, file_name: str | None, dataset: str,
    before: bool = True,
) -> bool:
    """Check a model from end to end and keep it; the uploaded file is removed either way."""
    from compression.experiments import own

    def add(store: object, progress: own.Progress, cancelled: Callable[[], bool]) -> object:
        if path is None or file_name is None:
            return own.add_model(name, given, None, dataset, progress=progress, cancelled=cancelled)
        return own.add_uploaded_model(
            name, given, Path(path), file_name, dataset, progress=progress, cancelled=cancelled
        )

    if not before and path is not None:
        own.discard(Path(path))
    return before and side_stage(root, job, add)


def add_data(
    root: str, job: str, name: str, path: str, file_name: str, options: "FolderOptions | None", before: bool = True
) -> bool:
    """Unpack, survey and keep a data set; the uploaded file is removed either way."""
    from compression.experiments import own

    try:
        return before and side_stage(
            root, job, lambda store, progress, cancelled: own.add_data(
                name, Path(path), options=options, shown=file_name, progress=progress, cancelled=cancelled
            ),
        )
    finally:
        Path(path).unlink(missing_ok=True)
