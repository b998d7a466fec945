"""Models' weights and datasets that can be fetched from their public homes, by name."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compression.core.errors import CancelledError, InputError
from models import datasets, registry
from models.errors import InterruptedWorkError
from models.sources.downloads import Download, Progress, part_of, unreported
from models.sources.locations import cache_folder, download_folder, user_folders

__all__ = [
    "Download", "downloadable", "downloaded_on", "find_download", "is_here", "removable", "remove_download",
    "run_download", "size_of", "unfinished_bytes",
]


def find_download(name: str) -> Download:
    """What a model or dataset needs from elsewhere.

    Raises:
        InputError: if nothing of that name can be fetched.
    """
    found = None
    if name in _models():
        found = registry.model_download(name)
    elif name in _datasets():
        found = datasets.dataset_download(name)
    if found is None:
        raise InputError("download", name, "allowed: " + ", ".join(downloadable()))
    return found


def downloadable() -> list[str]:
    """Names of what can be fetched."""
    models = [name for name in _models() if registry.model_download(name) is not None]
    return models + [name for name in _datasets() if datasets.dataset_download(name) is not None]


def is_here(name: str) -> bool:
    """Whether a model or dataset can be used without a download."""
    return datasets.has_data(name) if name in _datasets() else registry.has_weights(name)


def run_download(
    download: Download, progress: Progress = unreported, cancelled: Callable[[], bool] = bool
) -> None:
    """Fetch, check and unpack, and note that it was fetched here.

    Raises:
        ModelError: if that fails.
        CancelledError: if `cancelled` became true; the next run goes on from there.
    """
    before = [path for path in download.places() if path.exists()]
    try:
        download.run(progress, cancelled)
    except InterruptedWorkError:
        raise CancelledError("cancelled; the next download continues from there") from None
    fetched = [str(path) for path in download.places() if path.exists() and path not in before]
    if fetched:
        note = _note(download.name)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"date": datetime.now(UTC).date().isoformat(), "files": fetched}), encoding="utf-8")


def downloaded_on(name: str) -> str | None:
    """ISO date on which something was downloaded by this project; None where it was not, or is no longer there."""
    noted = _noted(name)
    return str(noted.get("date")) if any(Path(path).exists() for path in noted.get("files", [])) else None


def removable(download: Download) -> list[Path]:
    """What a download has left on the disk and may be removed.

    That is what lies in this project's own folder of data, what was noted when it was fetched, and unfinished files.
    A file in torch's folder that something else has put there stays, and so does all in folders that the user named.
    """
    noted, own = set(_noted(download.name).get("files", [])), download_folder()
    parts = {part_of(file.path) for file in download.files}
    return [
        path for path in download.places()
        if path.exists() and (path in parts or str(path) in noted or path.is_relative_to(own)) and not _is_users(path)
    ]


def remove_download(download: Download) -> int:
    """Delete what was downloaded; returns the bytes that were freed.

    Raises:
        InputError: if there is nothing that may be removed.
    """
    paths = removable(download)
    if not paths:
        raise InputError(
            "download", download.name, "only what was downloaded here can be removed; nothing of it was"
        )
    freed = sum(size_of(path) for path in paths)
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    _note(download.name).unlink(missing_ok=True)
    return freed


def unfinished_bytes(download: Download) -> int:
    """Bytes that a cancelled or broken download has left, from which the next goes on."""
    return sum(size_of(part_of(file.path)) for file in download.files)


def size_of(path: Path) -> int:
    """Bytes of a file or of all files below a folder; 0 where there is none."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            try:
                total += (Path(folder) / name).lstat().st_size
            except OSError:  # it is just being removed
                continue
    return total


def _is_users(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in user_folders().values())


def _note(name: str) -> Path:
    return cache_folder() / "downloads" / f"{name}.json"


def _noted(name: str) -> dict[str, Any]:
    try:
        noted = json.loads(_note(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}


def _models() -> list[str]:
    return [info.name for info in registry.list_models()]


def _datasets() -> list[str]:
    return [info.name for info in datasets.list_datasets()]
