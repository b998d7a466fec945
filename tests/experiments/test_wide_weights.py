"""Bundles whose integer weights overflow on some processors say so, there and in what they carry."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import onnx
import pytest

from compression.artifact.graph import integers
from compression.artifact.graph.integers import wide_layers
from compression.bundles import verification
from compression.bundles.writing import export_bundle
from compression.cli.main import main
from compression.experiments import identity
from compression.experiments.results import result_from_json
from compression.experiments.stages import run_experiment
from compression.experiments.store import ResultStore
from compression.recipe import recipe_from_dict
from compression.techniques import quantization


def exported(folder: Path, bits: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle as a processor makes it whose integer kernels take weights of so many bits."""
    for module in (quantization, identity):
        monkeypatch.setattr(module, "int8_weight_bits", lambda: bits)
    monkeypatch.setattr(integers, "int8_symbol_limit", lambda: 127 if bits == 8 else 64)
    steps = [{"technique": "quantization", "weight_bits": 8, "activation_bits": 8}]
    recipe = recipe_from_dict({"model": "digits_mobilenet", "dataset": "digits", "n_samples": 40, "steps": steps})
    store = ResultStore(folder / "store")
    return export_bundle(store, run_experiment(recipe, store, quick=True).key, folder / "bundle.zip")


@pytest.mark.parametrize("bits", [7, 8])
def test_wide_integer_weights_are_told_of(
    bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported(tmp_path, bits, monkeypatch)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)
    told = json.loads((tmp_path / "result.json").read_text())
    wide = told["wide_integer_weights"]
    assert len(wide) == (len(told["layers"]) if bits == 8 else 0)
    assert wide == wide_layers(onnx.load(tmp_path / "model.onnx"))
    assert result_from_json(json.dumps(told)).to_dict()["figures"] == told["figures"]
    assert ("## On other processors" in (tmp_path / "README.md").read_text()) == (bits == 8)
    for limit in (64, 127):
        monkeypatch.setattr(verification, "int8_symbol_limit", lambda limit=limit: limit)
        assert main(["verify", str(path)]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if "without VNNI" in line]
        assert len(lines) == (1 if bits == 8 and limit == 64 else 0)
        assert all(line.startswith("accuracy and predictions may differ here: 24 layers") for line in lines)
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    overflows = " avx2" in flags and not any(name in flags for name in (" avx512_vnni", " avx_vnni", " amx_int8"))
    command = [sys.executable, "-I", str(tmp_path / "run.py")]
    ran = subprocess.run(command, capture_output=True, text=True, cwd="/", check=True)
    assert ("overflow with 8-bit weights" in ran.stdout) == (bits == 8 and overflows)
