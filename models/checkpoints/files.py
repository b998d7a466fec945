"""Which files a checkpoint consists of: one, or shards that an index lists."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from models.checkpoints.containers import find_state
from models.checkpoints.report import ImportReport
from models.checkpoints.safe_reading import read_tensors
from models.errors import ModelError

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".pth.tar", ".th")
INDEX = ".index.json"
_USUAL = (
    "model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin",
)
_NUMBERED = re.compile(r".*-(\d{5})-of-(\d{5})\.\w+")
_LARGEST_INDEX, _MOST_SHARDS = 50_000_000, 1000


@dataclass
class Checkpoint:
    """Tensors by name, as a file holds them.

    Attributes:
        tensors: By name.
        versions: Versions of modules as a state dict keeps them; empty where the file has none.
        report: What was done so far.
    """

    tensors: dict[str, Tensor]
    versions: Mapping[str, Any] = field(default_factory=dict)
    report: ImportReport = field(default_factory=ImportReport)


def check_suffix(name: str) -> None:
    """Refuse names of other kinds of files.

    Raises:
        ModelError: naming what is allowed.
    """
    if not name.lower().endswith((*SUFFIXES, INDEX)):
        allowed = ", ".join(SUFFIXES)
        raise ModelError(f"{name}: a weights file is needed; allowed: {allowed}, or an index of shards (*{INDEX})")


def weight_files(path: Path, shown: str | None = None) -> list[Path]:
    """The files of a checkpoint.

    Args:
        path: A weights file, an index of shards, or a folder that holds either.
        shown: What the user calls a folder.

    Raises:
        ModelError: if the folder holds none or several, or a shard is missing.
    """
    if path.is_dir():
        numbered = _numbered_shards(path)
        if numbered:
            return numbered
        path = weights_in(path, shown)
    check_suffix(path.name)
    return _shards(path) if path.name.endswith(INDEX) else [path]


def weights_in(folder: Path, shown: str | None = None) -> Path:
    """The weights file, or the index of shards, in a folder.

    Args:
        folder: The folder.
        shown: What the user calls it.

    Raises:
        ModelError: if it holds none or several.
    """
    for name in _USUAL:
        if (folder / name).is_file():
            return folder / name
    inside = sorted(p for p in folder.iterdir() if p.is_file() and p.name.lower().endswith((*SUFFIXES, INDEX)))
    indices = [p for p in inside if p.name.endswith(INDEX)]
    chosen = indices if indices else inside
    if len(chosen) != 1:
        found = ", ".join(p.name for p in chosen[:4]) or "none"
        needed = "one weights file, or shards with their index, is needed"
        raise ModelError(f"{shown or folder.name}: {needed}; found: {found}")
    return chosen[0]


def _numbered_shards(folder: Path) -> list[Path]:
    """All shards of a folder without an index ("model-00001-of-00002.safetensors"); empty where it has others.

    Raises:
        ModelError: if one is missing.
    """
    inside = sorted(p for p in folder.iterdir() if p.name.endswith((*SUFFIXES, INDEX)))
    matched = [_NUMBERED.fullmatch(p.name) for p in inside]
    if not inside or not all(matched):
        return []
    count, found = max(int(m[2]) for m in matched if m), {int(m[1]) for m in matched if m}
    missing = sorted(set(range(1, count + 1)) - found)
    if missing or len(inside) != count:
        raise ModelError(f"{len(inside)} of {count} shards are there; number {(missing or [count])[0]} is missing")
    return inside


def _shards(index: Path) -> list[Path]:
    try:
        if index.stat().st_size > _LARGEST_INDEX:
            raise ModelError(f"{index.name} is too large for an index of shards")
        mapped = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in mapped.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ModelError(f"{index.name} is no index of shards: a mapping weight_map is needed") from None
    strange = [name for name in names if not _is_plain(name)]
    if strange or not names or len(names) > _MOST_SHARDS:
        raise ModelError(f"{index.name} names {strange[0]!r}" if strange else f"{index.name} names {len(names)} shards")
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise ModelError(f"{index.name} names {len(names)} shards, of which {missing[0]} is missing beside it")
    return [index.parent / name for name in names]


def _is_plain(name: str) -> bool:
    """Whether this is the name of a weights file beside the index, not a path to another place."""
    return PurePosixPath(name).name == name and "\\" not in name and name.endswith(SUFFIXES)


def read_checkpoint(path: Path, *, ema: bool = False, shown: str | None = None) -> Checkpoint:
    """Tensors of a checkpoint, read without executing anything in it.

    Args:
        path: A weights file, an index of shards, or a folder that holds either.
        ema: Whether the moving average is wanted where it lies beside the plain weights.
        shown: What the user calls the file.

    Raises:
        ModelError: if it is no such file, is damaged, holds objects, or has no moving average that is wanted.
    """
    files = weight_files(path, shown)
    report = ImportReport(file=shown or path.name, shards=len(files))
    tensors: dict[str, Tensor] = {}
    places: dict[str, str] = {}
    versions: Mapping[str, Any] = {}
    for file in files:
        held = read_tensors(file, (shown or path.name) if len(files) == 1 else file.name)
        found, versions = find_state(held, ema, report), _versions(held, report.container)
        twice = sorted(found.keys() & tensors.keys())
        if twice:
            raise ModelError(f"{report.file}: {len(twice)} tensors are in two shards, {twice[0]} first")
        tensors |= found
        places |= dict.fromkeys(found, file.name)
    wrong = sorted(name for name, place in _mapped(path).items() if places.get(name) != place)
    if wrong:
        report.notes.append(
            f"The index of the shards names another place for {len(wrong)} tensors, {wrong[0]} first; what the shards "
            "hold was taken."
        )
    return Checkpoint(tensors, versions, report)


def _mapped(path: Path) -> Mapping[str, str]:
    """Shard by tensor, as an index states it; empty of a single file and of shards without an index."""
    if path.is_dir():
        path = path if _numbered_shards(path) else weights_in(path)
    if not path.name.endswith(INDEX):
        return {}
    mapped = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    return {str(name): str(place) for name, place in mapped.items()}


def _versions(held: Any, container: str) -> Mapping[str, Any]:
    """Versions of the modules beside the tensors of a state dict that PyTorch wrote."""
    for name in filter(None, container.split(".")):
        held = held[name] if isinstance(held, Mapping) and name in held else held
    found = getattr(held, "_metadata", {})
    return found if isinstance(found, Mapping) else {}


def total_bytes(files: Sequence[Path]) -> int:
    """Size of all files of a checkpoint."""
    return sum(file.stat().st_size for file in files)
