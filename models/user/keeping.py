"""Where a user's own models and datasets are kept, under which names, and how nothing half-done is left there."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from models.errors import FieldError, ModelError
from models.sources.locations import cache_folder

RECORD = "record.json"
_ABANDONED_S = 86_400.0
_NAME = re.compile(r"[a-z][a-z0-9_-]{1,47}")
_Record = TypeVar("_Record")


def own_folder(kind: str) -> Path:
    """Folder of all own things of a kind: "models", "datasets" or "incoming"."""
    return cache_folder() / "own" / kind


def check_name(name: object, taken: Callable[[str], bool]) -> str:
    """A name that may be given to something new.

    Args:
        name: The name.
        taken: Whether there is something of that name already.

    Raises:
        FieldError: if it is no plain name, or taken.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FieldError("name", name, "2 to 48 small letters, digits, - and _ are needed, a letter first")
    if taken(name):
        raise FieldError("name", name, "there is a model or dataset of that name already; choose another")
    return name


@contextmanager
def new_folder(kind: str, name: str) -> Iterator[Path]:
    """A draft that takes its place when the block has ended well, and is gone when it has not.

    Raises:
        FieldError: if something of that name has been kept meanwhile.
        ModelError: if the disk refuses.
    """
    _clear_abandoned(own_folder(kind))
    target = own_folder(kind) / name
    draft = target.with_name(f".{name}.{os.getpid()}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        yield draft
        if target.exists():
            raise FieldError("name", name, "there is one of that name already; choose another")
        draft.rename(target)
    except OSError as error:
        raise ModelError(f"{name!r} cannot be kept: {' '.join(str(error).split())[:160]}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _clear_abandoned(folder: Path) -> None:
    """Remove drafts of processes that were killed: no addition takes as long."""
    for draft in folder.glob(".*.part"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(draft, ignore_errors=True)


def write_record(folder: Path, data: dict[str, Any]) -> None:
    """Write a record into a draft."""
    (folder / RECORD).write_text(json.dumps(data, indent=1), encoding="utf-8")


class Shelf:
    """The records of one kind, read again when a file has changed; several processes may add and remove.

    Args:
        kind: "models" or "datasets".
        read: Makes a record of its plain data and its folder; a TypeError, ValueError or KeyError hides it.
    """

    def __init__(self, kind: str, read: Callable[[dict[str, Any], Path], _Record]) -> None:
        self._kind, self._read = kind, read
        self._known: dict[Path, tuple[int, Any]] = {}

    def all(self) -> dict[str, Any]:
        """Records by name, in the order of names."""
        folder, found = own_folder(self._kind), {}
        for child in sorted(folder.iterdir()) if folder.is_dir() else ():
            record = None if child.name.startswith(".") else self._one(child)
            if record is not None:
                found[child.name] = record
        return found

    def get(self, name: str) -> Any | None:
        """One record, or None."""
        return self._one(own_folder(self._kind) / name) if _NAME.fullmatch(name) else None

    def _one(self, folder: Path) -> Any | None:
        path = folder / RECORD
        try:
            changed = path.stat().st_mtime_ns
            known = self._known.get(path)
            if known is None or known[0] != changed:
                known = (changed, self._read(json.loads(path.read_text(encoding="utf-8")), folder))
                self._known[path] = known
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return known[1]

    def signature(self) -> tuple[tuple[str, int], ...]:
        """Changes when something is added or removed."""
        names = self.all()
        return tuple((name, self._known[own_folder(self._kind) / name / RECORD][0]) for name in names)

    def remove(self, name: str) -> bool:
        """Delete one with all its files; False where there is none."""
        folder = own_folder(self._kind) / name
        if self.get(name) is None:
            return False
        gone = folder.with_name(f".{name}.{os.getpid()}.gone")
        try:
            folder.rename(gone)
        except OSError as error:
            raise ModelError(f"{name!r} cannot be removed: {error.strerror}") from None
        shutil.rmtree(gone, ignore_errors=True)
        self._known.pop(folder / RECORD, None)
        return True


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
