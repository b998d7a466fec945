"""The command line: one JSON object on stdout, exit codes, and one clear line for wrong input."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compression.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
GOOD: dict[str, Any] = {
    "model": "digits_resnet", "dataset": "digits", "n_samples": 40,
    "steps": [{"technique": "weight_pruning", "sparsity": 0.5}],
}


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path_factory.getbasetemp() / "command-line-home"
    monkeypatch.setenv("COMPRESSION_HOME", str(path))
    return path


def written(folder: Path, data: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def step(**knobs: object) -> dict[str, Any]:
    return {**GOOD, "steps": [{"technique": "weight_pruning", **knobs}]}


@pytest.mark.parametrize("command", ["models", "techniques", "datasets"])
def test_lists_are_one_json_object(command: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)[command]
    assert rows and all(row.get("name") or row.get("key") for row in rows)
    assert main([command]) == 0
    assert (rows[0].get("name") or rows[0]["key"]) in capsys.readouterr().out


def test_knobs_are_listed_with_their_ranges(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["techniques", "--json"])
    techniques = {row["key"]: row for row in json.loads(capsys.readouterr().out)["techniques"]}
    sparsity = techniques["weight_pruning"]["knobs"]["sparsity"]
    assert (sparsity["low"], sparsity["high"]) == (0.0, 0.99)


def test_run_sweep_and_verify_in_processes_of_their_own(home: Path, tmp_path: Path) -> None:
    recipe, bundle = written(tmp_path, GOOD), tmp_path / "bundle.zip"

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "compression", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    ran = call("run", str(recipe), "--quick", "--json", "--out", str(bundle))
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert result["n_samples"] == 40 and result["size_bytes"] < result["baseline"]["size_bytes"]
    swept = call("sweep", str(recipe), "--vary", "weight_pruning.sparsity=0.5,0.9", "--quick", "--json")
    assert swept.returncode == 0, swept.stderr
    sizes = [r["size_bytes"] for r in json.loads(swept.stdout)["results"]]
    assert sizes[0] == result["size_bytes"] > sizes[1]
    verified = call("verify", str(bundle), "--json")
    assert verified.returncode == 0, verified.stdout
    assert json.loads(verified.stdout)["passed"] is True
    bundle.write_bytes(bundle.read_bytes()[:-300])
    refused = call("verify", str(bundle))
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: bundle: ") and len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({**GOOD, "steps": [{"technique": "magic"}]}, ("technique", "'magic'", "weight_pruning")),
        (step(sparsity=1.5), ("weight_pruning.sparsity", "1.5", "0.99")),
        (step(sparsity="much"), ("weight_pruning.sparsity", "'much'")),
        (step(sparsity=True), ("weight_pruning.sparsity", "True")),
        ("{model: digits_resnet, dataset: digits, steps: [{technique: weight_pruning, sparsity: .nan}]}", ("nan",)),
        (step(sparse=0.5), ("sparse", "sparsity")),
        (step(criterion="best"), ("weight_pruning.criterion", "'best'", "magnitude")),
        (step(overrides={"conv1": {"sparsity": 2}}), ("sparsity", "2")),
        (step(layers={"only": ["conv1"]}), ("only", "include")),
        ({**GOOD, "model": "resnet1"}, ("model", "'resnet1'", "digits_resnet")),
        ({**GOOD, "dataset": "cats"}, ("dataset", "'cats'")),
        ({**GOOD, "n_samples": 0}, ("n_samples", "0")),
        ({**GOOD, "seed": "x"}, ("seed", "'x'")),
        ({**GOOD, "runtime": {"name": "tensorrt"}}, ("runtime", "tensorrt")),
        ({**GOOD, "stepz": []}, ("stepz",)),
        ({"dataset": "digits"}, ("model",)),
        ([1, 2], ()),
        ("model: [", ()),
        ("!!python/object/apply:os.system ['touch pwned']", ()),
        ("", ()),
    ],
    ids=str,
)
def test_wrong_recipes_get_one_line(
    data: object, words: tuple[str, ...], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(written(tmp_path, data))]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), shown.err
    assert all(word in lines[0] for word in words), lines[0]
    assert not (Path.cwd() / "pwned").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "missing.yaml"], ["verify", "missing.zip"],
        ["sweep", "{recipe}", "--vary", "sparsity"], ["sweep", "{recipe}", "--vary", "weight_pruning.magic=1,2"],
        ["sweep", "{recipe}", "--vary", "weight_pruning.sparsity=0.5,7"],
        ["sweep", "{recipe}", "--vary", "quantization.weight_bits=["],
    ],
    ids=str,
)
def test_wrong_arguments_get_one_line(
    arguments: list[str], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(written(tmp_path, GOOD))
    assert main([a.replace("{recipe}", recipe) for a in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")


def test_an_error_is_one_json_object_too(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(written(tmp_path, step(sparsity=1.5))), "--json"]) == 2
    assert "sparsity" in json.loads(capsys.readouterr().out)["error"]
