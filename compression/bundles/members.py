"""Checks each file of a bundle: by its listed SHA-256, and against what an export writes from the same result."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from compression.artifact.bundle import SUMS, BundleContents, differing_sums, programs
from compression.bundles.checks import Check
from compression.bundles.inputs import SPEC_FORMAT, exporter, probe, tokenizer_member
from compression.core.errors import InputError
from compression.experiments.results import ExperimentResult
from compression.experiments.tasks import Task
from compression.reports.text import bundle_readme

_WITH_SUMS, _LARGEST_PROBE = 3, 200_000_000
_ERRORS = (OSError, ValueError, EOFError, KeyError, RuntimeError, SyntaxError, zipfile.BadZipFile)
_UNKNOWN = "written by another version of this project: not compared with this version's"


def check_members(
    contents: BundleContents, task: Task, result: ExperimentResult, proto: onnx.ModelProto, spec: Mapping[str, Any]
) -> list[Check]:
    """Checks of the members that no other check reads: SHA256SUMS, the programs, README, probe and tokenizer.

    Args:
        contents: The bundle.
        task: The model and data of its recipe.
        result: Its result.
        proto: Its graph.
        spec: What input_spec.json holds when it is written from these.

    Raises:
        InputError: if a member is missing.
    """
    members, same_exporter = contents.members, contents.input_spec.get("exporter") == exporter()
    checks = [_check_sums(contents)]
    readme = {"README.md": bundle_readme(result, task.info.title, dict(spec)).encode()}
    for name, fresh in {**programs(spec), **readme}.items():
        checks.append(_check_text(name, members, fresh, same_exporter))
    tokenizer = tokenizer_member(task)
    for name, fresh in tokenizer.items():
        checks.append(_check_text(name, members, fresh, True))
    needless = {"text_input.py", "tokenizer.json"} & members.keys() - {*programs(spec), *tokenizer}
    checks += [Check(name, "none for this model", "there", False) for name in sorted(needless)]
    if "probe.npz" in members:
        checks.append(_check_probe(members["probe.npz"], probe(task, result, proto)))
    return checks


def _check_sums(contents: BundleContents) -> Check:
    """Every member against SHA256SUMS, which bundles of earlier versions lack."""
    members = contents.members
    version = contents.input_spec.get("format")
    if isinstance(version, int) and version >= _WITH_SUMS:
        for name in (SUMS, "probe.npz"):
            if name not in members:
                raise InputError("bundle", name, "this file is missing in the bundle")
    if SUMS not in members:
        note = f"this bundle is of an earlier version (format {version}, now {SPEC_FORMAT}) and lists no SHA-256"
        return Check(SUMS, "none", "none", True, note)
    wrong, count = differing_sums(members), len(members) - 1
    found = f"{', '.join(wrong[:4])} differ" if wrong else f"{count} files agree"
    return Check(SUMS, f"{count} files", found, not wrong)


def _check_text(name: str, members: Mapping[str, bytes], fresh: bytes, same_exporter: bool) -> Check:
    """A file that an export writes anew: equal, or of another version of the project."""
    if name not in members:
        raise InputError("bundle", name, "this file is missing in the bundle")
    same = members[name] == fresh
    if same or same_exporter:
        return Check(name, "as exported", "equal" if same else "different", same)
    return Check(name, "as exported", "not compared", True, f"{name}: {_UNKNOWN}")


def _check_probe(data: bytes, fresh: Mapping[str, np.ndarray]) -> Check:
    """Stored samples and targets against the dataset's, stored predictions against the graph's."""
    stated = f"{len(fresh['targets'])} samples of the scored split"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            fitting = sum(entry.file_size for entry in archive.infolist()) <= _LARGEST_PROBE
        if sorted(names) != sorted(f"{name}.npy" for name in fresh) or not fitting:
            return Check("probe.npz", stated, "other arrays", False)
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            wrong = [name for name, own in fresh.items() if not _same(stored[name], own)]
    except _ERRORS:
        return Check("probe.npz", stated, "no arrays", False)
    found = f"{', '.join(wrong)} differ" if wrong else "equal"
    return Check("probe.npz", stated, found, not wrong)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal classes and pixels, and equal values within the rounding of kernels."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(np.allclose(one, other, 1e-3, 1e-4) if one.dtype.kind == "f" else np.array_equal(one, other))
