"""Uploads written where worker processes find them; several files of one model become one folder."""

import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from compression.core.errors import InputError
from models.sources.zip_archives import ZipLimits, unpack_zip
from models.user import kept_models

Upload = tuple[str, BinaryIO]
ZIP = ".zip"
_OLD_SECONDS, _MOST_FILES = 86_400, 200
_MEMBERS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".json", ".txt", ".model"})
_LIMITS = ZipLimits(entries=1000, unpacked_bytes=8_000_000_000, ratio=100)


def received(upload: BinaryIO, file_name: str, suffixes: tuple[str, ...]) -> Path:
    """An upload written to a file; what earlier ones have left behind is cleared.

    Args:
        upload: Its content.
        file_name: What the user calls it.
        suffixes: Endings that are allowed.

    Raises:
        InputError: if its name ends otherwise, or the disk refuses.
    """
    suffix = next((end for end in sorted(suffixes, key=len, reverse=True) if file_name.lower().endswith(end)), None)
    if suffix is None:
        raise InputError("file", file_name, "allowed: " + ", ".join(suffixes))
    path = _incoming() / f"{uuid.uuid4().hex}{suffix}"
    _write(upload, path, file_name)
    return path


def received_files(uploads: Sequence[Upload], suffixes: tuple[str, ...]) -> tuple[Path, str]:
    """The files of one model, and what the user calls them: a single file, or a folder of several.

    Raises:
        InputError: if there are none or too many, or a name ends otherwise.
    """
    if not 0 < len(uploads) <= _MOST_FILES:
        raise InputError("weights", len(uploads), f"1 to {_MOST_FILES} files are allowed")
    if len(uploads) == 1:
        name, content = uploads[0]
        return received(content, name, suffixes), name
    folder = _incoming() / uuid.uuid4().hex
    folder.mkdir()
    try:
        for name, content in uploads:
            plain = PurePosixPath(name.replace("\\", "/")).name
            if not plain.lower().endswith(suffixes) or plain.lower().endswith(ZIP):
                raise InputError("weights", name, "of several files each is a weights file or their index (.json)")
            _write(content, folder / plain, name)
    except InputError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder, f"{len(uploads)} files"


@contextmanager
def opened(path: Path, shown: str) -> Iterator[Path]:
    """The upload, a zip unpacked; all of it is removed at the end.

    Raises:
        ModelError: if the zip is refused.
    """
    unpacked = path.with_suffix("")
    try:
        if path.name.endswith(ZIP):
            unpacked.mkdir()
            unpack_zip(path, unpacked, _MEMBERS, shown, _LIMITS)
            yield _innermost(unpacked)
        else:
            yield path
    finally:
        discard(path)
        discard(unpacked)


def discard(path: Path) -> None:
    """Remove an upload."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _innermost(folder: Path) -> Path:
    """Archives mostly hold one folder around everything."""
    while True:
        children = list(folder.iterdir())
        if len(children) != 1 or not children[0].is_dir():
            return folder
        folder = children[0]


def _incoming() -> Path:
    folder = kept_models.incoming()
    for old in folder.iterdir():
        if time.time() - old.stat().st_mtime > _OLD_SECONDS:
            discard(old)
    return folder


def _write(upload: BinaryIO, path: Path, shown: str) -> None:
    upload.seek(0)
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(upload, file)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError("file", shown, f"it cannot be stored: {error.strerror}") from None
