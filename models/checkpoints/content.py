"""What a file is by its first bytes, whatever its name says."""

import pickletools
import zipfile
from pathlib import Path
from typing import BinaryIO

from models.errors import ModelError

_PICKLE = b"\x80"
_KINDS = (
    (b"PK", "a zip archive without its end: the file is cut off or damaged"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file it stands for; fetch it with git lfs pull"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"\xfd7zXZ", "an xz archive; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"Rar!", "a rar archive; unpack it"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it; weights of PyTorch or safetensors are needed"),
    (b"\x93NUMPY", "an array of numpy; weights of PyTorch or safetensors are needed"),
    (b"GGUF", "a GGUF file; weights of PyTorch or safetensors are needed"),
)
_WEB = (b"<!doctype", b"<html", b"<?xml")
_SAMPLE = 512
_LARGEST_PICKLE = 16_000_000  # bytes; what lists 100,000 tensors has fewer
_LEGACY_PICKLES = 5


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the header's length, and a header in JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= path.stat().st_size


def check_content(path: Path, shown: str) -> None:
    """Refuse what is neither an archive nor a pickle of PyTorch, saying what it is.

    Args:
        path: The file.
        shown: What the user calls it.

    Raises:
        ModelError: saying so.
    """
    with path.open("rb") as file:
        start = file.read(_SAMPLE)
    what = _kind_of(start)
    archive = zipfile.is_zipfile(path)
    if what and not archive:
        raise ModelError(f"{shown} cannot be read as weights: it is {what}")
    if not start.startswith(_PICKLE) and not archive:
        raise ModelError(f"{shown} cannot be read as weights: it is neither safetensors nor a file of torch.save")


def check_pickles(path: Path, shown: str) -> None:
    """Refuse a pickle beside the tensors' values that is so large that reading it would take the memory.

    Args:
        path: An archive of `torch.save`, or its legacy form: pickles one after the other, then the values.
        shown: What the user calls it.

    Raises:
        ModelError: saying so.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max((own.file_size for own in archive.infolist() if own.filename.endswith(".pkl")), default=0)
    else:
        with path.open("rb") as file:
            size = _legacy_size(file)
    if size > _LARGEST_PICKLE:
        raise ModelError(
            f"{shown} cannot be read as weights: what lists its tensors has more than "
            f"{_LARGEST_PICKLE / 1e6:.0f} MB; save the tensors alone"
        )


def _legacy_size(file: BinaryIO) -> int:
    """Bytes of the pickles of the legacy form, read without building anything, as far as they are allowed."""
    try:
        for _ in range(_LEGACY_PICKLES):
            for _, _, place in pickletools.genops(file):
                if place is not None and place > _LARGEST_PICKLE:
                    return place
    except (ValueError, MemoryError, OverflowError):  # damaged, or of another form: reading it says so
        pass
    return file.tell()


def _kind_of(start: bytes) -> str:
    """What a file is, in words; empty where it may be weights."""
    if not start:
        return "empty"
    for mark, words in _KINDS:
        if start.startswith(mark):
            return words
    if start[:16].lstrip().lower().startswith(_WEB):
        return "a web page; the download gave a page in place of the file"
    if start[257:262] == b"ustar":
        return "a tar archive; unpack it"
    if start.startswith(_PICKLE):
        return ""
    printable = all(byte in b"\t\n\r" or byte >= 32 for byte in start)
    return "a text file" if printable else ""
