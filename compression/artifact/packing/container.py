"""The packed file: magic, compressed header, streams, checksum. Nothing in it is executed or unpickled."""

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

from compression.core.errors import InputError

_MAGIC = b"CMPW\x01"
_LENGTH = struct.Struct("<I")
_HEADER_LIMIT = 2**24
FIELD = "weights.packed"


def write_container(path: Path, header: dict[str, Any], payloads: list[bytes]) -> int:
    """Write a file atomically; returns its size in bytes."""
    packed = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    body = b"".join([_MAGIC, _LENGTH.pack(len(packed)), packed, *payloads])
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    draft.write_bytes(body + _LENGTH.pack(zlib.crc32(body)))
    draft.replace(path)
    return len(body) + _LENGTH.size


def read_container(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and streams of a file.

    Raises:
        InputError: if it is unreadable, foreign or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(FIELD, path.name, f"a readable file is needed ({error.strerror})") from None
    start = len(_MAGIC) + _LENGTH.size
    if len(data) < start + _LENGTH.size or not data.startswith(_MAGIC):
        raise InputError(FIELD, path.name, "a file of packed weights is needed")
    body, checksum = data[: -_LENGTH.size], _LENGTH.unpack(data[-_LENGTH.size :])[0]
    if zlib.crc32(body) != checksum:
        raise InputError(FIELD, path.name, "an undamaged file is needed: its checksum does not match")
    length = _LENGTH.unpack(data[len(_MAGIC) : start])[0]
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(body[start : start + length], _HEADER_LIMIT)
        header = json.loads(text)
    except (zlib.error, ValueError, RecursionError):
        raise InputError(FIELD, path.name, "an undamaged file is needed: its header is unreadable") from None
    if not isinstance(header, dict):
        raise InputError(FIELD, path.name, "an undamaged file is needed: its header is unreadable")
    return header, body[start + length :]
