"""Files from public homes: their size is said first, they go on where they were stopped, and are checked at the end.

Nothing here runs unasked: a person asks for one model or dataset by name, on a page or the command line.
"""

import hashlib
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from models.errors import InterruptedWorkError, ModelError

Progress = Callable[[float, str], None]
_CHUNK = 2**18
_SECONDS = 30
_SPARE_BYTES = 2**28
_AGENT = {"User-Agent": "compression-dashboard"}


def unreported(fraction: float, message: str) -> None:
    """Progress that nobody looks at."""
    del fraction, message


@dataclass(frozen=True)
class RemoteFile:
    """One file.

    Attributes:
        url: Its public home.
        path: Where it belongs on this machine.
        digest: What it is checked by: "sha256:" or "md5:" and all or the first hexadecimal digits.
        size_bytes: Its size where it is known beforehand; its server is asked for the exact one.
    """

    url: str
    path: Path
    digest: str
    size_bytes: int | None = None

    def is_here(self) -> bool:
        """Whether it lies at its place and is what it should be."""
        return self.path.is_file() and _agrees(self.path, self.digest)


@dataclass(frozen=True)
class Download:
    """All that a model or dataset needs.

    Attributes:
        name: The model or dataset.
        files: What is fetched.
        source: Who publishes it, in words.
        license: Under which licence.
        unpack: Called when all files are there.
        done: Whether all of it is there, unpacked; by default whether the files are.
        kept: What stays of it once it is unpacked; by default the files.
    """

    name: str
    files: tuple[RemoteFile, ...]
    source: str
    license: str
    unpack: Callable[[], None] | None = None
    done: Callable[[], bool] | None = None
    kept: tuple[Path, ...] = ()

    def places(self) -> list[Path]:
        """All that it may leave on the disk: files, unfinished files and what was unpacked."""
        files = [file.path for file in self.files]
        return list(dict.fromkeys([*files, *map(part_of, files), *self.kept]))

    def about_bytes(self) -> int | None:
        """Its size as far as it is known without asking anybody."""
        sizes = [file.size_bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def is_here(self) -> bool:
        """Whether nothing is left to be fetched."""
        return all(file.path.is_file() for file in self.files) if self.done is None else self.done()

    def size_bytes(self) -> int | None:
        """Bytes still to come: as the servers say, else as known; None where neither is."""
        sizes = [_remote_size(file) for file in self.files if not file.is_here()]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def run(self, progress: Progress = unreported, cancelled: Callable[[], bool] = bool) -> None:
        """Fetch what is missing, check it and unpack it.

        Args:
            progress: Called with a fraction of all files and a message.
            cancelled: Polled with each chunk.

        Raises:
            ModelError: if a file cannot be had, does not fit on the disk or is not what it should be.
            InterruptedWorkError: if `cancelled` became true; the next run goes on where this one was.
        """
        known = self.about_bytes() is not None
        sizes = [float(file.size_bytes or 1) if known else 1.0 for file in self.files]
        for number, file in enumerate(self.files):
            before, whole = sum(sizes[:number]), sum(sizes)
            fetch(file, _share_of(progress, before / whole, sizes[number] / whole), cancelled)
        if self.unpack is not None:
            progress(1.0, "unpacking")
            self.unpack()


def _share_of(progress: Progress, before: float, share: float) -> Progress:
    return lambda fraction, message: progress(min(1.0, before + share * fraction), message)


def part_of(path: Path) -> Path:
    """Where the part of a file lies that is here so far."""
    return path.with_name(path.name + ".part")


def fetch(file: RemoteFile, progress: Progress = unreported, cancelled: Callable[[], bool] = bool) -> Path:
    """Fetch one file unless it is there; see `Download.run`. Returns its path."""
    if file.is_here():
        return file.path
    file.path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(file.path)
    with _told_in_one_line(file):
        _receive(file, part, progress, cancelled)
    if not _agrees(part, file.digest):
        part.unlink()
        raise ModelError(f"{file.path.name} from {file.url} is not what it should be ({file.digest}); nothing is kept")
    part.replace(file.path)
    return file.path


@contextmanager
def _told_in_one_line(file: RemoteFile) -> Iterator[None]:
    try:
        yield
    except (urllib.error.URLError, HTTPException, OSError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        plain = error.reason if type(error) is urllib.error.URLError else error
        reason = " ".join(str(plain).split())[:160] or type(error).__name__
        raise ModelError(f"{file.url} could not be fetched ({reason}); the next try resumes there") from None


def _receive(file: RemoteFile, part: Path, progress: Progress, cancelled: Callable[[], bool]) -> None:
    """Append to what an earlier try has left, where the server can go on there; else start anew."""
    done = part.stat().st_size if part.is_file() else 0
    try:
        response = _open(file.url, {"Range": f"bytes={done}-"} if done else {})
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing lies beyond what is here: it is whole, or of another file
            raise
        if _agrees(part, file.digest):
            return
        done, response = 0, _open(file.url, {})
    with response:
        done = done if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        whole = done + int(length) if length is not None else None
        _check_room(file, part.parent, whole, done)
        with part.open("ab" if done else "wb") as target:
            while chunk := response.read(_CHUNK):
                if cancelled():
                    raise InterruptedWorkError("cancelled")
                target.write(chunk)
                done += len(chunk)
                known = whole or file.size_bytes
                progress(min(1.0, done / known) if known else 0.0, _amount(file, done, known))
    if whole is not None and done < whole:
        raise OSError(f"the connection ended after {done} of {whole} bytes")


def _amount(file: RemoteFile, done: int, known: int | None) -> str:
    return f"{file.path.name}: {done / 1e6:.1f}" + (f" of {known / 1e6:.1f} MB" if known else " MB")


def _check_room(file: RemoteFile, folder: Path, whole: int | None, done: int) -> None:
    free = shutil.disk_usage(folder).free
    if whole is not None and whole - done + _SPARE_BYTES > free:
        needed = f"{(whole - done) / 1e6:.0f} MB more are needed, {free / 1e6:.0f} MB are free"
        raise ModelError(f"there is no room for {file.path.name}: {needed}")


def _open(url: str, headers: dict[str, str], method: str = "GET") -> HTTPResponse:
    if not url.startswith(("https://", "http://")):
        raise ModelError(f"only http and https addresses are fetched, not {url[:80]!r}")
    request = urllib.request.Request(url, headers=_AGENT | headers, method=method)
    return urllib.request.urlopen(request, timeout=_SECONDS)


def _remote_size(file: RemoteFile) -> int | None:
    try:
        with _open(file.url, {}, "HEAD") as response:
            length = response.headers.get("Content-Length")
    except (urllib.error.URLError, HTTPException, OSError):
        length = None
    return file.size_bytes if length is None else int(length)


def _agrees(path: Path, digest: str) -> bool:
    kind, _, wanted = digest.partition(":")
    if kind not in ("sha256", "md5") or len(wanted) < 8:
        raise ValueError(f"digest {digest!r}: sha256: or md5: and at least 8 digits are needed")
    found = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as source:
        while chunk := source.read(2**20):
            found.update(chunk)
    return found.hexdigest().startswith(wanted.lower())
