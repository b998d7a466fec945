"""Reads an ONNX file and the data beside it; nothing outside its folder is opened, and sizes are checked before."""

import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from models.onnx_import.errors import OnnxError, shortened
from models.onnx_import.limits import LARGEST_FILE
from models.sources.zip_archives import ZipLimits, unpack_zip

SUFFIX = ".onnx"


def onnx_files(path: Path) -> list[Path]:
    """An ONNX file and the files beside it that hold its data.

    Raises:
        OnnxError: if it cannot be read, or names data outside its folder.
    """
    known = path.stat()
    return [path, *_data_files(path, known.st_mtime_ns, known.st_size)]


@lru_cache(maxsize=32)
def _data_files(path: Path, changed: int, size: int) -> tuple[Path, ...]:
    del changed, size  # a file that has changed may name other data
    model = parsed(path.read_bytes(), path.name)
    outside = [tensor for tensor in all_tensors(model) if tensor.data_location == TensorProto.EXTERNAL]
    return tuple(dict.fromkeys(_external_path(tensor, path.parent) for tensor in outside))


def read_file(path: Path, shown: str | None = None) -> onnx.ModelProto:
    """Read a file with all its tensors, those in files beside it included.

    Args:
        path: A ``.onnx`` file.
        shown: What it is called in errors.

    Raises:
        OnnxError: if it is missing, too large, damaged, or names data outside its folder.
    """
    shown = shown or path.name
    if not path.is_file():
        raise OnnxError(f"{shown}: there is no such file")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise OnnxError(f"{shown} has {size / 1e6:.0f} MB; {LARGEST_FILE / 1e6:.0f} MB are allowed")
    model = parsed(path.read_bytes(), shown)
    _read_external(model, path.parent, LARGEST_FILE - size)
    return model


def parsed(data: bytes, shown: str) -> onnx.ModelProto:
    """A model from its bytes.

    Raises:
        OnnxError: if they are no ONNX model.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise OnnxError(f"{shown} is no ONNX file, or is damaged: it cannot be decoded") from None
    if not model.HasField("graph") or not model.graph.node:
        raise OnnxError(f"{shown} is no ONNX file: it holds no graph")
    return model


def unpack_onnx_zip(archive: Path, folder: Path, shown: str) -> Path:
    """Unpack a zip of one ONNX file and its data; returns the ONNX file's path.

    Raises:
        ModelError: if it holds none or several, or the zip is refused.
    """
    try:
        with zipfile.ZipFile(archive) as held:
            names = [PurePosixPath(name) for name in held.namelist() if not name.endswith("/")]
    except (zipfile.BadZipFile, OSError, ValueError):
        raise OnnxError(f"{shown} is no zip file, or is damaged") from None
    graphs = [name for name in names if name.suffix.lower() == ".onnx" and "__MACOSX" not in name.parts]
    if len(graphs) != 1:
        raise OnnxError(f"{shown} holds {len(graphs)} files .onnx; one is needed, and its data beside it")
    kinds = frozenset(name.suffix.lower() for name in names)
    unpack_zip(archive, folder, kinds, shown, ZipLimits(entries=10_000, unpacked_bytes=LARGEST_FILE))
    return folder.joinpath(*graphs[0].parts)


def all_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Initializers and tensors in attributes."""
    yield from model.graph.initializer
    for node in (*model.graph.node, *(n for function in model.functions for n in function.node)):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _read_external(model: onnx.ModelProto, folder: Path, allowed: int) -> None:
    for tensor in all_tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            data = _external_bytes(tensor, folder, allowed)
            allowed -= len(data)
            tensor.raw_data = data
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def _external_path(tensor: TensorProto, folder: Path) -> Path:
    """The file that a tensor's data lie in."""
    name, location = shortened(tensor.name), {e.key: e.value for e in tensor.external_data}.get("location", "")
    parts = PurePosixPath(location.replace("\\", "/")).parts
    if not parts or ".." in parts or location.startswith(("/", "\\")) or ":" in parts[0] or "\0" in location:
        wanted = "a path below the file's folder is needed"
        raise OnnxError(f"tensor {name}: its data lie at {shortened(location)}; {wanted}")
    path = folder.joinpath(*parts)
    if not path.resolve().is_relative_to(folder.resolve()) or path.is_symlink():
        raise OnnxError(f"tensor {name}: {shortened(location)} is a link out of the file's folder")
    if not path.is_file():
        raise OnnxError(f"tensor {name}: its data {shortened(location)} are not beside the file; put them there, or "
                        "upload a zip of both")
    return path


def _external_bytes(tensor: TensorProto, folder: Path, allowed: int) -> bytes:
    """The bytes of a tensor that lie in another file."""
    path, entries = _external_path(tensor, folder), {entry.key: entry.value for entry in tensor.external_data}
    name, location = shortened(tensor.name), shortened(path.name)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
    except ValueError:
        raise OnnxError(f"tensor {name}: offset and length of its data must be whole numbers") from None
    size = path.stat().st_size
    length = size - offset if length < 0 else length
    if not 0 <= offset <= size or not 0 <= length <= size - offset:
        raise OnnxError(f"tensor {name}: its data are beyond the end of {location}")
    if length > allowed:
        raise OnnxError(f"the file's data are larger than {LARGEST_FILE / 1e6:.0f} MB, which are allowed")
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)
