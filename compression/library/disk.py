"""Bytes on the disk by what they are for, and which of them can be cleared."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from compression.core.errors import CancelledError
from compression.experiments.graphs import seed_graphs
from compression.experiments.store import ResultStore
from compression.jobs.experiment_jobs import Progress
from compression.library.catalogue import downloadable, find_download, removable, size_of
from models import datasets, registry
from models.sources.downloads import part_of
from models.sources.locations import cache_folder, download_folder
from models.user.keeping import own_folder

CLEARABLE = {
    "decoded": "Decoded images",
    "statistics": "Statistics and graphs",
    "results": "Results",
}


@dataclass(frozen=True)
class DiskUse:
    """Bytes on this machine.

    Attributes:
        shipped: Weights that come with the project.
        data: Downloaded datasets.
        weights: Downloaded weights.
        unfinished: Downloads that were stopped.
        decoded: Decoded images.
        statistics: Statistics, exported graphs and trained states that are made again when they are missing.
        results: Measured artifacts and their database.
        free: Room on the disk that they lie on.
        by_dataset: What each dataset takes where it lies, by name.
        own_models: The user's own models.
        own_data: The user's own datasets, as far as they have been copied.
    """

    shipped: int
    data: int
    weights: int
    unfinished: int
    decoded: int
    statistics: int
    results: int
    free: int
    by_dataset: dict[str, int]
    own_models: int = 0
    own_data: int = 0


def measure_disk(store: ResultStore) -> DiskUse:
    """Count everything; seconds where there are many files."""
    unfinished = weights = 0
    for name in downloadable():
        download = find_download(name)
        parts = {part_of(file.path) for file in download.files}
        unfinished += sum(size_of(path) for path in parts)
        kept = [path for path in removable(download) if path not in parts]
        weights += sum(size_of(path) for path in kept if not path.is_relative_to(download_folder()))
    data = size_of(download_folder())
    inside = [size_of(path) for path in download_folder().rglob("*.part")] if download_folder().is_dir() else []
    database = sum(size_of(path) for path in store.root.glob("results.db*"))
    return DiskUse(
        shipped=size_of(registry.WEIGHTS_DIR), data=data - sum(inside), weights=weights, unfinished=unfinished,
        decoded=size_of(_decoded()), statistics=size_of(store.root / "cache"),
        results=size_of(store.root / "artifacts") + database, free=shutil.disk_usage(store.root).free,
        by_dataset={info.name: _dataset_bytes(info.name) for info in datasets.list_datasets()},
        own_models=size_of(own_folder("models")), own_data=size_of(own_folder("datasets")),
    )


def _dataset_bytes(name: str) -> int:
    """A file stands for the folder that it lies in, a folder for itself."""
    folders = {path if path.is_dir() else path.parent for path in datasets.data_paths(name)}
    return sum(size_of(folder) for folder in folders)


def _decoded() -> Path:
    return cache_folder() / "decoded"


def clear(kind: str, store: ResultStore, progress: Progress, cancelled: Callable[[], bool]) -> None:
    """Delete what can be made again.

    Args:
        kind: One of `CLEARABLE`.
        store: The results.
        progress: Called with a fraction and a message.
        cancelled: Polled between files.
    """
    if kind == "results":
        store.clear()
        _remove(store.root / "artifacts", progress, cancelled)
        return
    folder = _decoded() if kind == "decoded" else store.root / "cache"
    _remove(folder, progress, cancelled)
    if kind == "statistics":
        seed_graphs(folder)


def _remove(folder: Path, progress: Progress, cancelled: Callable[[], bool]) -> None:
    inner = sorted(folder.iterdir()) if folder.is_dir() else []
    for number, path in enumerate(_in_turn(inner, cancelled)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        progress((number + 1) / len(inner), f"removing: {number + 1:,} of {len(inner):,}")


def _in_turn(paths: Iterable[Path], cancelled: Callable[[], bool]) -> Iterable[Path]:
    for path in paths:
        if cancelled():
            raise CancelledError("cancelled")
        yield path
