"""Bundles: a zip with everything that runs and reproduces a result."""

import json
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.errors import InputError

_MEMBERS = ("recipe.yaml", "model.onnx", "weights.packed", "result.json", "input_spec.json", "run.py", "README.md")
_OPTIONAL = ("probe.npz", "tokenizer.json", "text_input.py")  # not in bundles of earlier versions
_TIME = (1980, 1, 1, 0, 0, 0)
_LARGEST_MEMBER = 2**31
_LARGEST_RATIO = 200
_RUN, _TEXT = (Path(__file__).with_name(name) for name in ("run_template.py", "text_template.py"))


@dataclass(frozen=True)
class BundleContents:
    """An unpacked bundle.

    Attributes:
        recipe_yaml: The recipe's text.
        result_json: The result's text.
        onnx_path: The graph.
        packed_path: The packed weights.
        input_spec: Shape, type and normalisation of the input.
    """

    recipe_yaml: str
    result_json: str
    onnx_path: Path
    packed_path: Path
    input_spec: dict[str, Any]


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

    Args:
        path: File to write.
        recipe_yaml: The recipe's text.
        onnx_path: The graph.
        packed_path: The packed weights.
        result_json: The result's text.
        input_spec: All that run.py has to know.
        readme: For people.
        extra: Optional members: "probe.npz" and "tokenizer.json".
    """
    members = {
        "recipe.yaml": recipe_yaml.encode(),
        "model.onnx": onnx_path.read_bytes(),
        "weights.packed": packed_path.read_bytes(),
        "result.json": result_json.encode(),
        "input_spec.json": json.dumps(input_spec, indent=1).encode(),
        "run.py": _RUN.read_bytes(),
        "README.md": readme.encode(),
        **(extra or {}),
    }
    if "text" in input_spec:
        members["text_input.py"] = _TEXT.read_bytes()
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
    return BundleContents(recipe, result, into / "model.onnx", into / "weights.packed", spec)


def _check_members(archive: zipfile.ZipFile, name: str) -> None:
    entries = {entry.filename: entry for entry in archive.infolist()}
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
