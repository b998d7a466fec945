"""From a recipe to a bundle that runs elsewhere, and back: run, store, export, verify, tamper."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from compression.bundles.verification import verify_bundle
from compression.bundles.writing import export_bundle
from compression.core.errors import CancelledError, InputError
from compression.experiments.results import ExperimentResult, result_from_dict
from compression.experiments.stages import build, key_of, run_experiment
from compression.experiments.store import ResultStore
from compression.recipe import Recipe, recipe_from_dict

FIGURES = {
    "accuracy", "accuracy_low", "accuracy_high", "n_samples", "size_bytes", "runtime_size_bytes", "latency_ms_p50",
    "latency_ms_p95", "latency_low", "latency_high", "macs", "parameters", "nonzero_parameters",
}
Edit = Callable[[dict[str, bytes]], None]


def recipe(*steps: dict[str, object], samples: int = 60) -> Recipe:
    data = {"model": "digits_resnet", "dataset": "digits", "n_samples": samples, "steps": list(steps)}
    return recipe_from_dict(data)


INT8 = recipe(
    {"technique": "weight_pruning", "sparsity": 0.5},
    {"technique": "quantization", "weight_bits": 8, "activation_bits": 8},
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ResultStore:
    return ResultStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def result(store: ResultStore) -> ExperimentResult:
    return run_experiment(INT8, store, quick=True)


@pytest.fixture(scope="module")
def bundle(store: ResultStore, result: ExperimentResult) -> Path:
    return export_bundle(store, result.key)


def rewritten(bundle: Path, into: Path, edit: Edit) -> Path:
    """A copy of a bundle with edited members."""
    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    edit(members)
    with zipfile.ZipFile(into / "edited.zip", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return into / "edited.zip"


def test_a_result_has_every_promised_field(result: ExperimentResult) -> None:
    flat = json.loads(json.dumps(result.flat()))
    assert set(flat) >= FIGURES | {"baseline", "badges", "recipe", "environment"}
    assert set(flat["baseline"]) >= FIGURES
    assert all(flat[name] is not None and flat["baseline"][name] is not None for name in FIGURES)
    assert flat["accuracy_low"] <= flat["accuracy"] <= flat["accuracy_high"]
    assert flat["latency_low"] <= flat["latency_ms_p50"] <= flat["latency_high"]
    assert result_from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_the_numbers_are_those_of_the_files(store: ResultStore, result: ExperimentResult) -> None:
    folder = store.artifact_dir(result.key)
    assert result.figures.size_bytes == (folder / "weights.packed").stat().st_size
    assert result.figures.runtime_size_bytes == (folder / "model.onnx").stat().st_size
    assert result.figures.size_bytes < 0.25 * result.baseline.size_bytes
    pruned = [layer for layer in result.layers if layer.sparsity > 0]
    assert sum(layer.sparsity * np.prod(layer.shape) for layer in pruned) == pytest.approx(
        0.5 * sum(np.prod(layer.shape) for layer in result.layers), rel=0.02
    )
    assert {layer.kernel for layer in result.layers} <= {"int8", "float32"}


def test_a_second_run_takes_the_stored_result_and_another_process_sees_it(
    store: ResultStore, result: ExperimentResult
) -> None:
    assert run_experiment(INT8, store, quick=True) == result
    assert ResultStore(store.root).get_result(key_of(INT8)) == result


def test_a_recipe_that_changes_nothing_says_so(store: ResultStore) -> None:
    same = run_experiment(recipe({"technique": "weight_pruning", "sparsity": 0.0}), store, quick=True)
    assert any("changed nothing" in note for note in same.notes)
    assert same.figures.accuracy == same.baseline.accuracy


def test_a_model_is_not_scored_on_data_of_another_kind(store: ResultStore) -> None:
    data = {"model": "python_gpt", "dataset": "digits", "steps": []}
    with pytest.raises(InputError, match=r"dataset: 'digits'.*python_source"):
        run_experiment(recipe_from_dict(data), store, quick=True)


def test_a_technique_that_cannot_act_is_refused(store: ResultStore) -> None:
    nowhere = recipe({"technique": "block_sharing", "n_unique_blocks": 1, "layers": {"include": ["conv"]}})
    with pytest.raises(InputError, match=r"block_sharing.*cannot act"):
        run_experiment(nowhere, store)


def test_cancelling_stops_the_run_and_loses_nothing(store: ResultStore, result: ExperimentResult) -> None:
    other = recipe({"technique": "weight_pruning", "sparsity": 0.37})
    with pytest.raises(CancelledError):
        run_experiment(other, store, quick=True, cancelled=lambda: True)
    assert store.get_result(key_of(other)) is None
    kept = store.get_result(result.key)
    assert kept is not None and (kept.created, kept.layers) == (result.created, result.layers)


def test_run_py_needs_nothing_of_this_project(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path)
    rng = np.random.default_rng(0)
    batch = rng.standard_normal((3, 1, 32, 32)).astype(np.float32)
    np.save(tmp_path / "input.npy", batch)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    ran = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "run.py"), str(tmp_path / "input.npy")], capture_output=True, text=True,
        cwd="/", env=environment, check=True,
    )
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    best = session.run(["output"], {"input": batch})[0].argmax(-1).tolist()
    found = [line.partition(": ")[2].split()[0] for line in ran.stdout.splitlines() if "input.npy[" in line]
    assert found == [str(label) for label in best] and "latency " in ran.stdout


def test_a_bundle_replays(bundle: Path) -> None:
    _, checks = verify_bundle(bundle)
    assert [check for check in checks if not check.passed] == []
    assert {check.name for check in checks} >= {"accuracy", "size_bytes", "runtime_size_bytes", "packed weights"}


def test_a_pruned_model_on_packed_weights_is_timed_anew_replays_and_runs_alone(
    store: ResultStore, tmp_path: Path
) -> None:
    def combined(kernel: str) -> Recipe:
        steps = [
            {"technique": "channel_pruning", "pruning_ratio": 0.3},
            {"technique": "quantization", "weight_bits": 4, "rounding": "nearest", "linear_kernel": kernel},
        ]
        return recipe_from_dict({"model": "digits_vit", "dataset": "digits", "n_samples": 60, "steps": steps})

    expanded = store.get_part(build(combined("float"), store), "artifact")
    packed = run_experiment(combined("integer"), store, quick=True)
    own = store.get_part(packed.key, "artifact")
    assert own and expanded and own["structure_key"] != expanded["structure_key"]
    assert packed.figures.size_bytes == pytest.approx(expanded["size_bytes"], rel=0.001)
    kernels = {layer.fqn: (layer.kind, layer.kernel, layer.note) for layer in packed.layers}
    linear = {kernel for kind, kernel, _ in kernels.values() if kind == "Linear"}
    assert linear == {"int4", "int8"}, "the protected head is on 8 bits"
    assert all("convolutions" in note for kind, _, note in kernels.values() if kind == "Conv2d")
    assert {layer["kernel"] for layer in expanded["layers"]} == {"float32"}
    assert any("4-bit weights that stay packed" in line for line in packed.explanation)
    path = export_bundle(store, packed.key)
    assert [check for check in verify_bundle(path)[1] if not check.passed] == []
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-I", str(tmp_path / "run.py")]
    ran = subprocess.run([*command, "--check"], capture_output=True, text=True, cwd="/", check=True)
    assert ran.stdout.startswith("same predictions 32 of 32\n")


def _better(members: dict[str, bytes]) -> None:
    told = json.loads(members["result.json"])
    told["figures"]["accuracy"] = 0.123
    members["result.json"] = json.dumps(told).encode()


def _smaller(members: dict[str, bytes]) -> None:
    told = json.loads(members["result.json"])
    told["figures"]["size_bytes"] -= 1
    members["result.json"] = json.dumps(told).encode()


def _other_recipe(members: dict[str, bytes]) -> None:
    members["recipe.yaml"] = members["recipe.yaml"].replace(b"sparsity: 0.5", b"sparsity: 0.6")


def _other_input(members: dict[str, bytes]) -> None:
    spec = json.loads(members["input_spec.json"])
    members["input_spec.json"] = json.dumps({**spec, "mean": [0.9]}).encode()


def _other_classes(members: dict[str, bytes]) -> None:
    spec = json.loads(members["input_spec.json"])
    members["input_spec.json"] = json.dumps({**spec, "classes": spec["classes"][::-1]}).encode()


def _graph_of_another_input(members: dict[str, bytes]) -> None:
    proto = onnx.load_model_from_string(members["model.onnx"])
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    members["model.onnx"] = proto.SerializeToString()


def test_a_graph_of_other_inputs_is_named(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model\.onnx: 'input 3x32x32' is not allowed; .* model takes 1x32x32"):
        verify_bundle(rewritten(bundle, tmp_path, _graph_of_another_input))


def test_other_weights_are_noticed(store: ResultStore, bundle: Path, tmp_path: Path) -> None:
    other = run_experiment(recipe(INT8.steps and {"technique": "quantization", "weight_bits": 8}), store, quick=True)
    weights = (store.artifact_dir(other.key) / "weights.packed").read_bytes()
    edited = rewritten(bundle, tmp_path, lambda members: members.update({"weights.packed": weights}))
    failed = {check.name for check in verify_bundle(edited)[1] if not check.passed}
    assert "packed weights" in failed


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (_better, "accuracy"), (_smaller, "size_bytes"), (_other_recipe, "recipe"), (_other_input, "input_spec.json"),
        (_other_classes, "input_spec.json"),
    ],
)
def test_a_bundle_that_does_not_do_what_it_says_fails(bundle: Path, tmp_path: Path, edit: Edit, name: str) -> None:
    _, checks = verify_bundle(rewritten(bundle, tmp_path, edit))
    assert name in {check.name for check in checks if not check.passed}


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.pop("model.onnx"), lambda m: m.update({"../evil": b"x"}),
        lambda m: m.update({"result.json": b"{}"}),
        lambda m: m.update({"recipe.yaml": b"!!python/object/apply:os.system ['true']"}),
        lambda m: m.update({"weights.packed": b"nothing"}), lambda m: m.update({"model.onnx": b"nothing"}),
        lambda m: m.update({"result.json": b"\xff\xfe"}), lambda m: m.update({"input_spec.json": b"["}),
    ],
)
def test_what_is_no_bundle_is_refused(bundle: Path, tmp_path: Path, edit: Edit) -> None:
    with pytest.raises(InputError):
        verify_bundle(rewritten(bundle, tmp_path, edit))
    assert not (tmp_path.parent / "evil").exists()


def test_a_cut_off_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.zip").write_bytes(bundle.read_bytes()[:-200])
    for path in (tmp_path / "cut.zip", tmp_path / "missing.zip", tmp_path):
        with pytest.raises(InputError):
            verify_bundle(path)


def test_a_graph_that_reaches_for_other_files_is_refused(bundle: Path, tmp_path: Path) -> None:
    def reach(members: dict[str, bytes]) -> None:
        proto = onnx.load_model_from_string(members["model.onnx"])
        tensor = next(t for t in proto.graph.initializer if t.HasField("raw_data"))
        onnx.external_data_helper.set_external_data(tensor, "/etc/hostname")
        members["model.onnx"] = proto.SerializeToString()

    with pytest.raises(InputError, match="external data"):
        verify_bundle(rewritten(bundle, tmp_path, reach))
