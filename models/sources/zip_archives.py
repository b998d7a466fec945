"""Zip archives that somebody else has made: looked at as a whole before anything is written."""

import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from models.errors import InterruptedWorkError, ModelError
from models.sources.downloads import Progress, unreported

_SYSTEM_NAMES = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"))
_CHUNK = 2**18
_SPARE_BYTES = 2**28
_END, _END_BYTES, _LONGEST_COMMENT = b"PK\x05\x06", 22, 2**16
_BYTES_PER_ENTRY = 512
_UTF8_FLAG = 0x800
_LONGEST_NAME = 255
_DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the user's: hidden, or left by an operating system."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


@dataclass(frozen=True)
class ZipLimits:
    """What an archive of a user may be.

    Attributes:
        entries: Most files and folders.
        unpacked_bytes: Most bytes of all files.
        ratio: Most bytes that a byte of the archive may become; images hardly shrink when they are compressed.
    """

    entries: int = 200_000
    unpacked_bytes: int = 8_000_000_000
    ratio: int = 100


def unpack_zip(
    archive: Path, target: Path, suffixes: frozenset[str], shown: str, limits: ZipLimits | None = None,
    progress: Progress = unreported, cancelled: Callable[[], bool] = bool,
) -> int:
    """Unpack the files of some kinds, and the empty folders beside those that hold them.

    Nothing is written before all entries have been looked at, and nothing outside of the target ever.

    Args:
        archive: The file.
        target: An existing folder.
        suffixes: Endings of the files that are wanted, in small letters; others are left in the archive.
        shown: What the archive is called in errors.
        limits: Those of `ZipLimits` by default.
        progress: Called with a fraction and a message.
        cancelled: Polled while it is written.

    Returns:
        The number of files.

    Raises:
        ModelError: if it is no zip, damaged or encrypted, climbs out of its folder, holds a link, or is beyond a limit.
        InterruptedWorkError: if `cancelled` became true.
    """
    limits = limits or ZipLimits()
    with _opened(archive, shown, limits) as held:
        entries = _wanted(held.infolist(), suffixes, shown, archive.stat().st_size, limits)
        total = sum(entry.file_size for entry in entries)
        free = shutil.disk_usage(target).free
        if total + _SPARE_BYTES > free:
            raise ModelError(f"{shown}: unpacked it has {total / 1e6:.0f} MB, {free / 1e6:.0f} MB are free")
        for folder in _empty_folders(held.infolist(), entries):
            target.joinpath(folder).mkdir(parents=True, exist_ok=True)
        for number, entry in enumerate(entries):
            if cancelled():
                raise InterruptedWorkError("cancelled")
            _unpack_entry(held, entry, target)
            progress((number + 1) / len(entries), f"unpacking: {number + 1:,} of {len(entries):,}")
    return len(entries)


def zip_names(archive: BinaryIO, suffixes: frozenset[str], shown: str) -> tuple[list[str], list[str]]:
    """Paths of the files that `unpack_zip` would write, and of the empty folders; nothing is unpacked.

    Raises:
        ModelError: as `unpack_zip` does.
    """
    size, limits = archive.seek(0, 2), ZipLimits()
    with _opened(archive, shown, limits) as held:
        entries = _wanted(held.infolist(), suffixes, shown, size, limits)
        return [entry.filename for entry in entries], [str(f) for f in _empty_folders(held.infolist(), entries)]


@contextmanager
def _opened(archive: Path | BinaryIO, shown: str, limits: ZipLimits) -> Iterator[zipfile.ZipFile]:
    """An archive whose entries have their names decoded; what is wrong with it is a `ModelError`."""
    try:
        _check_directory(archive, shown, limits)
        with zipfile.ZipFile(archive) as held:
            for entry in held.infolist():
                entry.filename = _decoded_name(entry)
            yield held
    except (ModelError, InterruptedWorkError):
        raise
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{shown} cannot be unpacked: {reason or type(error).__name__}") from None


def _check_directory(archive: Path | BinaryIO, shown: str, limits: ZipLimits) -> None:
    """Refuse a table of contents that would fill the memory, before it is read."""
    if isinstance(archive, Path):
        with archive.open("rb") as file:
            _check_directory(file, shown, limits)
        return
    size = archive.seek(0, 2)
    archive.seek(max(0, size - _END_BYTES - _LONGEST_COMMENT))
    tail = archive.read()
    place = tail.rfind(_END)
    length = int.from_bytes(tail[place + 12 : place + 16], "little") if place >= 0 else 0
    if length > limits.entries * _BYTES_PER_ENTRY + 2**20:
        raise ModelError(f"{shown} has more entries than the {limits.entries:,} that are allowed")


def _decoded_name(entry: zipfile.ZipInfo) -> str:
    """The name of an entry: some programs write UTF-8 without saying so, and some write backslashes."""
    name = entry.filename
    if not entry.flag_bits & _UTF8_FLAG and not name.isascii():
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            name = entry.filename
    return unicodedata.normalize("NFC", name).replace("\\", "/")


def _wanted(
    entries: list[zipfile.ZipInfo], suffixes: frozenset[str], shown: str, size: int, limits: ZipLimits
) -> list[zipfile.ZipInfo]:
    """The files to unpack, after a look at every entry."""
    if len(entries) > limits.entries:
        raise ModelError(f"{shown} has {len(entries):,} entries; at most {limits.entries:,} are allowed")
    for entry in entries:
        _check_entry(entry, shown)
    total = sum(entry.file_size for entry in entries)
    if total > limits.unpacked_bytes:
        allowed = f"{limits.unpacked_bytes / 1e9:.0f} GB are allowed"
        raise ModelError(f"{shown} would unpack to {total / 1e9:.1f} GB; at most {allowed}")
    if total > limits.ratio * size + 10_000_000:
        sizes = f"{size / 1e6:.1f} MB would become {total / 1e6:.0f} MB, more than {limits.ratio} times as much"
        raise ModelError(f"{shown} is refused: {sizes}")
    names = Counter(entry.filename for entry in entries)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise ModelError(f"{shown} is refused: it holds {twice[:80]!r} more than once")
    files = [entry for entry in entries if PurePosixPath(entry.filename).suffix.lower() in suffixes]
    files = [entry for entry in files if not entry.is_dir() and not any(map(is_hidden, _parts(entry)))]
    if not files:
        raise ModelError(f"{shown} holds no files of these kinds: {', '.join(sorted(suffixes))}")
    return files


def _check_entry(entry: zipfile.ZipInfo, shown: str) -> None:
    name = entry.filename[:80]
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ModelError(f"{shown} is refused: {name!r} is a symbolic link")
    parts = _parts(entry)
    if entry.filename.startswith("/") or ".." in parts or any(":" in part for part in parts[:1]):
        raise ModelError(f"{shown} is refused: {name!r} lies outside of the archive's folder")
    if any(len(part.encode(errors="replace")) > _LONGEST_NAME for part in parts):
        raise ModelError(f"{shown} is refused: the name {name!r}... has more than {_LONGEST_NAME} bytes")
    if entry.flag_bits & 0x1:
        raise ModelError(f"{shown} is refused: {name!r} is encrypted")


def _parts(entry: zipfile.ZipInfo) -> list[str]:
    return [part for part in entry.filename.split("/") if part]


def _empty_folders(entries: list[zipfile.ZipInfo], files: list[zipfile.ZipInfo]) -> list[PurePosixPath]:
    """Folders without any wanted file beside folders that hold some: a class keeps its label although it is empty."""
    full = {PurePosixPath(*_parts(entry)).parent for entry in files}
    around = {folder.parent for folder in full}
    there = {parent for folder in full for parent in (folder, *folder.parents)}
    found = set()
    for entry in entries:
        parts = _parts(entry) if entry.is_dir() else _parts(entry)[:-1]
        if parts and not any(map(is_hidden, parts)):
            folder = PurePosixPath(*parts)
            found.update({folder, *folder.parents} - there)
    return sorted(folder for folder in found if folder.parent in around)


def _unpack_entry(held: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Never more than the entry says that it has: the sum of these has been checked."""
    path = target.joinpath(*_parts(entry))
    path.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with held.open(entry) as source, path.open("wb") as file:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise ModelError(f"{entry.filename[:80]!r} is larger than it says")
            file.write(chunk)
