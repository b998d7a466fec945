"""Bundles: a zip with everything that runs and reproduces a result."""

import hashlib
import json
import os
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.core.errors import InputError

_MEMBERS = ("recipe.yaml", "model.onnx", "weights.packed", "result.json", "input_spec.json", "run.py", "README.md")
SUMS = "SHA256SUMS"
_OPTIONAL = ("probe.npz", "promise.json", "tokenizer.json", "text_input.py", SUMS)  # not in all bundles
_TIME = (1980, 1, 1, 0, 0, 0)
_LARGEST_MEMBER = 2**31
_LARGEST_RATIO = 200
_RUN, _TEXT = (Path(__file__).with_name(name) for name in ("run_template.py", "text_template.py"))
_SUM = re.compile(r"([0-9a-f]{64})  (\S+)")


@dataclass(frozen=True)
class BundleContents:
    """An unpacked bundle.

    Attributes:
        recipe_yaml: The recipe's text.
        result_json: The result's text.
        onnx_path: The graph.
        packed_path: The packed weights.
        input_spec: Shape, type and normalisation of the input.
        members: Content of all files by name.
    """

    recipe_yaml: str
    result_json: str
    onnx_path: Path
    packed_path: Path
    input_spec: dict[str, Any]
    members: Mapping[str, bytes]


def programs(input_spec: Mapping[str, Any]) -> dict[str, bytes]:
    """The Python files of a bundle, by name."""
    text = {"text_input.py": _TEXT.read_bytes()} if "text" in input_spec else {}
    return {"run.py": _RUN.read_bytes(), **text}


def program_files() -> tuple[Path, ...]:
    """Source files of all that bundles are given as `programs`."""
    return _RUN, _TEXT


def write_bundle(
    path: Path,
    *,
    recipe_yaml: str,
    onnx_path: Path,
    packed_path: Path,
    result_json: str,
    input_spec: dict[str, Any],
    readme: str,
    extra: dict[str, bytes] | None = None,
) -> Path:
    """Write a bundle atomically; equal contents give equal bytes. Returns the path.

    Its last member, SHA256SUMS, lists the digest of each other one in the form of ``sha256sum``.

    Args:
        path: File to write.
        recipe_yaml: The recipe's text.
        onnx_path: The graph.
        packed_path: The packed weights.
        result_json: The result's text.
        input_spec: All that run.py has to know.
        readme: For people.
        extra: Other members: "probe.npz", "promise.json" where a search made one, "tokenizer.json" of text.
    """
    members = {
        "recipe.yaml": recipe_yaml.encode(),
        "model.onnx": onnx_path.read_bytes(),
        "weights.packed": packed_path.read_bytes(),
        "result.json": result_json.encode(),
        "input_spec.json": json.dumps(input_spec, indent=1).encode(),
        "README.md": readme.encode(),
        **programs(input_spec),
        **(extra or {}),
    }
    members[SUMS] = "".join(f"{_digest(data)}  {name}\n" for name, data in members.items()).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    draft.replace(path)
    return path


def read_bundle(path: Path, into: Path) -> BundleContents:
    """Unpack a bundle into an empty folder.

    Args:
        path: The zip.
        into: Where its members are written.

    Raises:
        InputError: if it is no bundle, damaged, or would write elsewhere or too much.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, path.name)
            for name in archive.namelist():
                (into / name).write_bytes(archive.read(name))
    except OSError as error:
        raise InputError("bundle", path.name, f"a readable file is needed ({error.strerror or error})") from None
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("bundle", path.name, "an undamaged bundle (zip) is needed") from None
    try:
        recipe, result = ((into / name).read_text(encoding="utf-8") for name in ("recipe.yaml", "result.json"))
        spec = json.loads((into / "input_spec.json").read_text(encoding="utf-8"))
    except ValueError:
        raise InputError("bundle", path.name, "an undamaged bundle (zip) is needed") from None
    members = {file.name: file.read_bytes() for file in into.iterdir()}
    return BundleContents(recipe, result, into / "model.onnx", into / "weights.packed", spec, members)


def differing_sums(members: Mapping[str, bytes]) -> list[str]:
    """What disagrees with SHA256SUMS: names of changed members, of those not listed, and of listed ones that lack.

    Args:
        members: Content of all files by name, SHA256SUMS among them.
    """
    lines = members[SUMS].decode("utf-8", "replace").splitlines()
    matched = [_SUM.fullmatch(line) for line in lines]
    listed = {found[2]: found[1] for found in matched if found}
    actual = {name: _digest(data) for name, data in members.items() if name != SUMS}
    wrong = sorted(name for name in listed.keys() | actual.keys() if listed.get(name) != actual.get(name))
    return wrong or ([SUMS] if len(listed) != len(lines) else [])


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check_members(archive: zipfile.ZipFile, name: str) -> None:
    entries = {entry.filename: entry for entry in archive.infolist()}
    twice = sorted({own for own in archive.namelist() if archive.namelist().count(own) > 1})
    if twice:
        raise InputError("bundle", name, f"an exported bundle is needed; {twice[0]!r} is in it more than once")
    missing = [member for member in _MEMBERS if member not in entries]
    if missing:
        raise InputError("bundle", name, f"an exported bundle is needed; it lacks {missing[0]}")
    strange = sorted(set(entries) - set(_MEMBERS) - set(_OPTIONAL))
    if strange:
        raise InputError("bundle", name, f"an exported bundle is needed; {strange[0]!r} does not belong into one")
    for entry in entries.values():
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise InputError("bundle", name, f"an exported bundle is needed; {entry.filename} is a link")
        if entry.file_size > min(_LARGEST_MEMBER, 2**20 + _LARGEST_RATIO * entry.compress_size):
            raise InputError("bundle", name, f"an exported bundle is needed; {entry.filename} unpacks to too much")
