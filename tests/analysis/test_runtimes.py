"""Artifacts in further runtimes: the PyTorch program against the ONNX file, OpenVINO against its own baseline."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from compression.analysis.other_runtimes import export_program, measure_in
from compression.analysis.runtime_records import RuntimeRecord, installed, read_record
from compression.core.errors import CancelledError, InputError
from compression.experiments.results import ExperimentResult
from compression.experiments.stages import run_experiment
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.recipe import Recipe, recipe_from_dict
from compression.reports import runtime_snippet, subject_of
from compression.service.runtime_exports import Exports
from compression.targets import openvino_runtime

needs_openvino = pytest.mark.skipif(
    installed("openvino") is None,
    reason="OpenVINO is not installed (pip install -r requirements-openvino.txt): its runtime was not tested",
)


def recipe(*steps: dict[str, object]) -> Recipe:
    return recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "n_samples": 60, "steps": list(steps)})


FLOAT = recipe({"technique": "channel_pruning", "pruning_ratio": 0.4}, {"technique": "low_rank", "rank_ratio": 0.6})
INT8 = recipe({"technique": "quantization", "weight_bits": 8, "activation_bits": 8})


def quiet(fraction: float, message: str) -> None:
    del fraction, message


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ResultStore:
    return ResultStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def pruned(store: ResultStore) -> ExperimentResult:
    return run_experiment(FLOAT, store, quick=True)


@pytest.fixture(scope="module")
def int8(store: ResultStore) -> ExperimentResult:
    return run_experiment(INT8, store, quick=True)


@pytest.fixture(scope="module")
def program(store: ResultStore, int8: ExperimentResult) -> RuntimeRecord:
    return export_program(store, int8.key, quiet, bool)


def test_the_program_computes_what_the_onnx_file_does(store: ResultStore, pruned: ExperimentResult) -> None:
    record = measure_in(store, pruned.key, "torch", quiet)
    assert record.n_samples == 60 and record.agreement == 1.0 and not record.float_activations
    folder = store.artifact_dir(pruned.key)
    inputs = load_task(FLOAT).example_input(3)
    wanted = ort.InferenceSession(folder / "model.onnx").run(["output"], {"input": inputs.numpy()})[0]
    found = torch.export.load(folder / "model.pt2").module()(inputs).detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())
    assert record.largest_difference is not None and record.largest_difference <= 2e-3 * np.abs(wanted).max()
    assert record.file_size_bytes == (folder / "model.pt2").stat().st_size > pruned.figures.size_bytes
    assert read_record(store, pruned.key, "torch") == record


def test_quantized_activations_are_floats_in_the_program_and_it_says_so(
    store: ResultStore, int8: ExperimentResult, program: RuntimeRecord
) -> None:
    assert program.float_activations and program.largest_difference is not None and program.largest_difference > 0
    rows = [row for row in subject_of(store, int8.key).records if row.runtime == "torch"]
    assert rows == [program]


def test_a_cancelled_export_leaves_no_record(store: ResultStore, pruned: ExperimentResult) -> None:
    store.drop_parts(pruned.key, "runtime-torch")
    with pytest.raises(CancelledError):
        export_program(store, pruned.key, quiet, lambda: True)
    assert read_record(store, pruned.key, "torch") is None


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
@pytest.mark.usefixtures("program")
def test_the_snippet_of_a_runtime_runs_beside_its_file(
    store: ResultStore, int8: ExperimentResult, runtime: str, tmp_path: Path
) -> None:
    found = Exports(store, None, lambda key, reason: None).file(int8.key, runtime)  # type: ignore[arg-type]
    (tmp_path / found.name).write_bytes(found.read_bytes())
    (tmp_path / "use.py").write_text(runtime_snippet(subject_of(store, int8.key).model, runtime))
    command = [sys.executable, "use.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(1, 10) best")


def test_what_is_not_there_is_told_in_one_line(
    store: ResultStore, pruned: ExperimentResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="result: 'nothing'"):
        measure_in(store, "nothing", "torch", quiet)
    with pytest.raises(InputError, match="runtime: 'tensorrt'"):
        measure_in(store, pruned.key, "tensorrt", quiet)
    monkeypatch.setattr(openvino_runtime, "openvino_version", lambda: None)
    with pytest.raises(InputError, match=r"pip install -r requirements-openvino\.txt"):
        measure_in(store, pruned.key, "openvino", quiet)


@needs_openvino
def test_openvino_executes_the_very_file_and_is_timed_against_its_own_baseline(
    store: ResultStore, int8: ExperimentResult
) -> None:
    record = measure_in(store, int8.key, "openvino", quiet)
    assert record.n_samples == int8.figures.n_samples and record.agreement is not None and record.agreement > 0.95
    assert record.accuracy == pytest.approx(int8.figures.accuracy, abs=0.05)
    assert record.speedup is not None and record.latency_ms_p50 is not None and record.baseline_ms_p50 is not None
    assert record.speedup == pytest.approx(record.baseline_ms_p50 / record.latency_ms_p50)
    with zipfile.ZipFile(store.artifact_dir(int8.key) / "openvino.zip") as archive:
        assert set(archive.namelist()) == {"model.xml", "model.bin"}
