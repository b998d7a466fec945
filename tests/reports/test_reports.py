"""Reports, cards and snippets: data in, text out; and the snippets run in processes of their own."""

import ast
import os
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from compression.analysis.pareto import Measured
from compression.analysis.promise import Promise
from compression.analysis.runtime_records import RuntimeRecord
from compression.cli.main import main
from compression.experiments.results import ExperimentResult
from compression.experiments.stages import build, key_of
from compression.experiments.store import ResultStore
from compression.experiments.wording import file_stem, recipe_slug
from compression.recipe import recipe_from_dict, recipe_to_yaml
from compression.reports import Subject, command_lines, model_card, python_snippet, report_html
from compression.reports.page import points_of
from compression.reports.subject import comparable
from compression.reports.svg import Point, scatter_svg, ticks
from models import datasets, registry
from tests.pages.conftest import synthetic_result

ROOT = Path(__file__).resolve().parents[2]
BASE: dict[str, Any] = {"model": "digits_resnet", "dataset": "digits"}
RECORD = RuntimeRecord(
    "openvino", "2026.4.1", "machine", "now", 12_345, 719, agreement=0.99, accuracy=0.95, accuracy_low=0.93,
    accuracy_high=0.97, latency_ms_p50=0.25, latency_low=0.24, latency_high=0.26, baseline_ms_p50=0.5,
    baseline_low=0.49, baseline_high=0.51, speedup=2.0, speedup_low=1.9, speedup_high=2.1,
)


def measured(sparsity: float | None = None, **changes: Any) -> ExperimentResult:
    steps = [] if sparsity is None else [{"technique": "weight_pruning", "sparsity": sparsity}]
    made = synthetic_result(recipe_from_dict({**BASE, "steps": steps}))
    return replace(made, created="2026-11-24T00:00:00", environment={"cpu": "a <fast> one"}, **changes)


def subject(*others: ExperimentResult, **changes: Any) -> Subject:
    result = measured(0.5, notes=("layers <script>alert(1)</script> & more",))
    return Subject(
        replace(result, **changes), others, (RECORD,), registry.model_info("digits_resnet"),
        datasets.dataset_info("digits"), "ab" * 32,
    )


class Reader(HTMLParser):
    """Collects tags, links and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [str(v) for k, v in attrs if k in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_stands_alone_and_shows_everything_as_text() -> None:
    read = Reader(report_html(subject(measured(), measured(0.9))))
    assert "script" not in read.tags and read.addresses == []
    assert "layers <script>alert(1)</script> & more" in read.text and "a <fast> one" in read.text
    for words in ("OpenVINO 2026.4.1", "0.250 ms (0.240 to 0.260)", "conv1", "sparsity: 0.5", "ab" * 32, "CC BY 4.0"):
        assert words in read.text, words
    assert read.tags.count("svg") == 2


def test_each_run_is_a_point_and_the_own_one_stands_out() -> None:
    own = subject(measured(), measured(0.9))
    for cost in ("size", "latency"):
        assert sorted(p.kind for p in points_of(own, cost)) == ["baseline", "other", "own"]
    alone = points_of(subject(), "size")
    assert sorted(p.kind for p in alone) == ["baseline", "own"]
    untimed = measured(0.9)
    untimed = replace(untimed, figures=replace(untimed.figures, latency_ms_p50=None))
    assert len(points_of(subject(untimed), "latency")) == 2


def test_the_plot_is_well_formed_and_holds_marks_intervals_and_frontier() -> None:
    points = [
        Point(Measured.exact(10), Measured(90, 88, 92), "other", "a & b"),
        Point(Measured(20, 19, 21), Measured(95, 94, 96), "own", "own"),
        Point(Measured.exact(40), Measured(95, 94, 96), "baseline", "uncompressed"),
    ]
    svg = ET.fromstring(scatter_svg(points, "size < kB", "accuracy"))
    name = "{http://www.w3.org/2000/svg}"
    classes = [e.get("class") for e in svg]
    assert [classes.count(f"mark {kind}") for kind in ("own", "other", "baseline")] == [1, 1, 1]
    assert sum(c is not None and c.startswith("bars") for c in classes) == 3
    frontier = svg.find(f"{name}polyline")
    assert frontier is not None and len(str(frontier.get("points")).split()) == 2
    assert "a & b" in [title.text for title in svg.iter(f"{name}title")]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (91.3, 99.9), (0, 1_093_023), (0.0003, 0.0004)])
def test_ticks_are_few_round_and_within(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 7 and all(low <= tick <= high for tick in found)


def test_only_what_was_measured_alike_is_compared() -> None:
    own, twin = measured(0.5), measured(0.9)
    old = replace(measured(0.9), key="older", created="2025")
    other_data = replace(measured(0.7), recipe={**measured(0.7).recipe, "n_samples": 40})
    other_count = replace(measured(0.8), figures=replace(measured(0.8).figures, n_samples=250))
    assert comparable(own, [own, old, twin, other_data, other_count]) == (twin,)


def test_the_card_names_weights_licences_figures_and_limits() -> None:
    card = model_card(subject(stage="quick"))
    for words in (
        "# ResNet-20 on digits, compressed", "trained by this project", "licence of these weights: MIT", "CC BY 4.0",
        "sparsity 0.5", "n = 719", "| Latency |", "OpenVINO 2026.4.1", "A first result", "no kernel runs this",
    ):
        assert words in card, words


def test_snippets_are_python_and_commands_name_the_downloads() -> None:
    result = measured(0.5)
    tree = ast.parse(python_snippet(result))
    literal = next(node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    assert recipe_from_dict(ast.literal_eval(literal.args[0])) == recipe_from_dict(result.recipe)
    assert f"digits_resnet-weight_pruning-sparsity0.5-{result.key[:8]}.yaml" in command_lines(result)[0]


def test_a_file_name_carries_model_and_recipe() -> None:
    steps = [
        {"technique": "channel_pruning", "pruning_ratio": 0.25},
        {"technique": "quantization", "weight_bits": 4, "activation_bits": 8},
    ]
    result = synthetic_result(recipe_from_dict({**BASE, "steps": steps}))
    name = file_stem(result)
    start, shared, end = name.partition("-quantization-weight_bits4-activation_bits8")
    assert (start, end[:1], end[1:]) == ("digits_resnet-channel_pruning-pruning_ratio0.25", "-", result.key[:8])
    assert shared
    assert file_stem(synthetic_result(recipe_from_dict(BASE))).startswith("digits_resnet-uncompressed-")
    every = [{"technique": own} for own in ("channel_pruning", "low_rank", "weight_pruning", "quantization")]
    long = recipe_slug({"steps": [{**step, "sparsity": 0.123456, "rank_ratio": 0.123456} for step in every * 3]})
    assert len(long) < 300


def test_snippet_commands_and_export_reproduce_a_result_in_fresh_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_from_dict({**BASE, "n_samples": 40, "steps": [{"technique": "weight_pruning", "sparsity": 0.8}]})
    key, here = key_of(recipe), ResultStore(tmp_path / "here")
    build(recipe, here)
    stated = replace(synthetic_result(recipe), key=key)
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))

    def call(*command: str) -> str:
        own = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "again.py").write_text(python_snippet(stated))
    told = call("again.py")
    artifact = here.get_part(key, "artifact")
    assert artifact is not None
    assert f"result {key}\n" in told and f"packed bytes {artifact['size_bytes']}\n" in told
    (tmp_path / f"{file_stem(stated)}.yaml").write_text(recipe_to_yaml(recipe))
    run, verify = (shlex.split(line) for line in command_lines(stated))
    assert run[:3] == verify[:3] == ["python", "-m", "compression"]
    call(*run[1:])
    monkeypatch.chdir(tmp_path)
    assert main(verify[3:]) == 0
    wanted = [str(tmp_path / name) for name in ("b.zip", "deep/r.html", "c.md", "m.onnx")]
    pairs = [part for pair in zip(("--bundle", "--report", "--card", "--model"), wanted, strict=True) for part in pair]
    assert main(["export", key, *pairs]) == 0
    assert "ONNX Runtime" in capsys.readouterr().out
    assert all(Path(path).stat().st_size > 1000 for path in wanted)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing", "--card", "c.md"], "result: 'nothing'"),
        (["nothing"], "--bundle"),
        (["nothing", "--runtime", "tensorrt"], "runtime: 'tensorrt'"),
    ],
)
def test_wrong_exports_get_one_line(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path))
    assert main(["export", *arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and words in lines[0]


def test_report_and_card_say_what_is_promised() -> None:
    promise = Promise(1.0, 0.71, 0.93, 5000, 10_000)
    promised = replace(subject(), promise=promise)
    for text in (Reader(report_html(promised)).text, model_card(promised)):
        assert "keeps at most 1 point: shown (0.71, at most 0.93 with 97.5 % confidence, n = 5,000)" in text
        assert "a fixed half of the 10,000 test samples" in text
    assert "Promise" not in model_card(subject()) and "Promise" not in report_html(subject())
