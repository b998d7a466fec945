"""Each file of a bundle that is changed, missing, added or there twice is noticed, also where the checksums fit."""

import hashlib
import io
import json
import subprocess
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from compression.artifact.bundle import SUMS
from compression.bundles.verification import verify_bundle
from compression.bundles.writing import export_bundle
from compression.core.errors import InputError
from compression.experiments.stages import run_experiment
from compression.experiments.store import ResultStore
from compression.recipe import recipe_from_dict

Edit = Callable[[dict[str, bytes]], None]
NAMES = ("recipe.yaml", "model.onnx", "weights.packed", "result.json", "input_spec.json", "run.py", "README.md",
         "probe.npz", SUMS)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    steps = [{"technique": "weight_pruning", "sparsity": 0.5}]
    recipe = recipe_from_dict({"model": "digits_mobilenet", "dataset": "digits", "n_samples": 40, "steps": steps})
    store = ResultStore(folder / "store")
    return export_bundle(store, run_experiment(recipe, store, quick=True).key, folder / "bundle.zip")


def members_of(bundle: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(path: Path, members: dict[str, bytes], *, with_sums: bool = False) -> Path:
    """A bundle of these members; `with_sums` makes the checksums fit again, as a forger would."""
    if with_sums:
        sums = [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in members.items() if name != SUMS]
        members[SUMS] = ("\n".join(sums) + "\n").encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def failed(path: Path) -> dict[str, str]:
    return {check.name: check.found for check in verify_bundle(path)[1] if not check.passed}


def appended(name: str, data: bytes) -> bytes:
    """A change that each member can be read with."""
    if name == "probe.npz":
        with np.load(io.BytesIO(data)) as stored:
            kept = {key: stored[key] for key in stored.files}
        kept["inputs"][0, 0, 0, 0] ^= 1
        buffer = io.BytesIO()
        np.savez(buffer, **kept)
        return buffer.getvalue()
    if name == "model.onnx":
        return data + b"\x3a\x00"  # an empty graph merged into the graph: protobuf takes it for the same
    return data + {"weights.packed": b"\0", SUMS: b"nonsense\n"}.get(name, b"\n")


def test_an_exported_bundle_passes_and_sha256sum_agrees(bundle: Path, tmp_path: Path) -> None:
    assert set(members_of(bundle)) == set(NAMES)
    assert failed(bundle) == {}
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count(": OK") == len(NAMES) - 1


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_member_is_named(name: str, bundle: Path, tmp_path: Path) -> None:
    members = members_of(bundle)
    members[name] = appended(name, members[name])
    try:
        found = failed(written(tmp_path / "b.zip", members))
    except InputError as error:
        assert name in str(error) and name == "weights.packed"
    else:
        assert name in found.get(SUMS, ""), found


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_member_is_named(name: str, bundle: Path, tmp_path: Path) -> None:
    members = members_of(bundle)
    del members[name]
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        verify_bundle(written(tmp_path / "b.zip", members))


def _program(members: dict[str, bytes]) -> None:
    members["run.py"] += b"import os\n"


def _readme(members: dict[str, bytes]) -> None:
    members["README.md"] = members["README.md"].replace(b"| measured |", b"| certain |")


def _stored(**changed: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def edit(members: dict[str, bytes]) -> None:
        with np.load(io.BytesIO(members["probe.npz"])) as stored:
            kept = {key: changed.get(key, lambda own: own)(stored[key]) for key in stored.files}
        buffer = io.BytesIO()
        np.savez(buffer, **kept)
        members["probe.npz"] = buffer.getvalue()

    return edit


def _no_arrays(members: dict[str, bytes]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, inputs=np.array([{}], dtype=object), targets=np.zeros(1), predictions=np.zeros(1))
    members["probe.npz"] = buffer.getvalue()


def _tokenizer(members: dict[str, bytes]) -> None:
    members["tokenizer.json"] = b"{}"


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (_program, "run.py"), (_readme, "README.md"), (_no_arrays, "probe.npz"), (_tokenizer, "tokenizer.json"),
        (_stored(inputs=lambda own: own ^ 1), "probe.npz"), (_stored(targets=lambda own: own[::-1]), "probe.npz"),
        (_stored(predictions=lambda own: (own + 1) % 10), "probe.npz"),
        (_stored(inputs=lambda own: own.astype(np.float32)), "probe.npz"),
        (lambda members: members.update({"probe.npz": b"PK"}), "probe.npz"),
    ],
)
def test_what_an_export_would_write_otherwise_fails_though_the_checksums_fit(
    edit: Edit, name: str, bundle: Path, tmp_path: Path
) -> None:
    members = members_of(bundle)
    edit(members)
    assert set(failed(written(tmp_path / "b.zip", members, with_sums=True))) == {name}


def test_a_member_that_is_added_or_there_twice_is_refused(bundle: Path, tmp_path: Path) -> None:
    members = members_of(bundle)
    with pytest.raises(InputError, match=r"'RUN\.PY' does not belong"):
        verify_bundle(written(tmp_path / "a.zip", {**members, "RUN.PY": b""}, with_sums=True))
    path = written(tmp_path / "b.zip", members)
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        archive.writestr("run.py", b"print('other')")
    with pytest.raises(InputError, match=r"'run\.py' is in it more than once"):
        verify_bundle(path)


def test_bundles_of_earlier_versions_are_replayed_with_a_note(bundle: Path, tmp_path: Path) -> None:
    members = members_of(bundle)
    spec = json.loads(members["input_spec.json"])
    del members[SUMS], spec["exporter"]
    members["input_spec.json"] = json.dumps({**spec, "format": 2}).encode()
    members["run.py"] += b"\n"
    checks = verify_bundle(written(tmp_path / "b.zip", members))[1]
    assert all(check.passed for check in checks)
    notes = " ".join(check.note for check in checks)
    assert "earlier version" in notes and "run.py: written by another version" in notes
