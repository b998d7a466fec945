"""Downloaded archives unpacked so that what is there is whole: into a draft first, then moved to its place."""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from models.downloads import Progress, unreported
from models.errors import InterruptedWorkError, ModelError

_CHUNK = 2**18
_SPARE_BYTES = 2**28


@dataclass(frozen=True)
class ZipLimits:
    """What an archive of a user may be.

    Attributes:
        entries: Most files and folders.
        unpacked_bytes: Most bytes of all files.
        ratio: Most bytes that a byte of the archive may become; images are hardly compressed any further.
    """

    entries: int = 200_000
    unpacked_bytes: int = 8_000_000_000
    ratio: int = 100



def unpack_tar(archive: Path, folder: str) -> None:
    """Unpack the one folder of a tar archive beside it, and remove the archive.

    Args:
        archive: Its digest has been checked.
        folder: Name of the folder in it; one of that name is replaced.

    Raises:
        ModelError: if the archive holds no such folder or would write elsewhere.
    """
    draft, target = archive.with_name(f"{folder}.{os.getpid()}.part"), archive.with_name(folder)
    try:
        with tarfile.open(archive) as held:
            held.extractall(draft, filter="data")
        if not (draft / folder).is_dir():
            raise ModelError(f"{archive.name} does not hold the folder {folder}")
        shutil.rmtree(target, ignore_errors=True)
        (draft / folder).replace(target)
    except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
        raise ModelError(f"{archive.name} cannot be unpacked: {' '.join(str(error).split())[:160]}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    archive.unlink()


def unpack_gzip(archive: Path) -> None:
    """Unpack ``name.gz`` to ``name`` beside it, and remove the archive.

    Raises:
        ModelError: if it is damaged.
    """
    target = archive.with_suffix("")
    draft = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with gzip.open(archive) as source, draft.open("wb") as unpacked:
            shutil.copyfileobj(source, unpacked)
        draft.replace(target)
    except (zlib.error, OSError, EOFError) as error:
        raise ModelError(f"{archive.name} cannot be unpacked: {' '.join(str(error).split())[:160]}") from None
    finally:
        draft.unlink(missing_ok=True)
    archive.unlink()


def unpack_zip(
    archive: Path, target: Path, suffixes: frozenset[str], shown: str, limits: ZipLimits | None = None,
    progress: Progress = unreported, cancelled: Callable[[], bool] = bool,
) -> int:
    """Unpack the files of some kinds from a zip archive that somebody else has made.

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
    try:
        with zipfile.ZipFile(archive) as held:
            entries = _wanted(held.infolist(), suffixes, shown, archive.stat().st_size, limits or ZipLimits())
            total = sum(entry.file_size for entry in entries)
            free = shutil.disk_usage(target).free
            if total + _SPARE_BYTES > free:
                raise ModelError(f"{shown}: unpacked it has {total / 1e6:.0f} MB, {free / 1e6:.0f} MB are free")
            for number, entry in enumerate(entries):
                if cancelled():
                    raise InterruptedWorkError("cancelled")
                _unpack_entry(held, entry, target)
                progress((number + 1) / len(entries), f"unpacking: {number + 1:,} of {len(entries):,}")
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, ModelError | InterruptedWorkError):
            raise
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{shown} cannot be unpacked: {reason or type(error).__name__}") from None
    return len(entries)


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
        told = f"{size / 1e6:.1f} MB would become {total / 1e6:.0f} MB, more than {limits.ratio} times as much"
        raise ModelError(f"{shown} is refused: {told}")
    files = [entry for entry in entries if PurePosixPath(entry.filename).suffix.lower() in suffixes]
    files = [entry for entry in files if not any(part.startswith((".", "__MACOSX")) for part in _parts(entry))]
    if not files:
        raise ModelError(f"{shown} holds no files of these kinds: {', '.join(sorted(suffixes))}")
    return files


def _check_entry(entry: zipfile.ZipInfo, shown: str) -> None:
    name = entry.filename[:80]
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ModelError(f"{shown} is refused: {name!r} is a symbolic link")
    parts = _parts(entry)
    if entry.filename.startswith(("/", "\\")) or ".." in parts or any(":" in part for part in parts[:1]):
        raise ModelError(f"{shown} is refused: {name!r} lies outside of the archive's folder")
    if entry.flag_bits & 0x1:
        raise ModelError(f"{shown} is refused: {name!r} is encrypted")


def _parts(entry: zipfile.ZipInfo) -> list[str]:
    return [part for part in entry.filename.replace("\\", "/").split("/") if part]


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
