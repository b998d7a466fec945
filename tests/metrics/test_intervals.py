"""Scores and their intervals against definitions, and the statistics of timings on made-up samples."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compression.metrics import environment
from compression.metrics.accuracy import evaluate_onnx, wilson_interval
from compression.metrics.latency import _enough, summarize

Z = 1.959963984540054
MS = 1_000_000


def identity(path: Path, shape: list[int | str]) -> Path:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["output"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_bounds_are_where_the_score_test_just_rejects(case: tuple[int, int]) -> None:
    correct, n = case
    share = correct / n
    low, high = wilson_interval(correct, n)
    assert 0.0 <= low <= share <= high <= 1.0
    for bound in (low, high):
        assert (share - bound) ** 2 == pytest.approx(Z**2 * bound * (1 - bound) / n, abs=1e-9)


def test_the_bits_are_those_of_the_stated_distribution(tmp_path: Path) -> None:
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    logits = np.broadcast_to(np.log(shares) + 7, (1, 4, 4)).astype(np.float32)
    graph = identity(tmp_path / "m.onnx", ["batch", 4, 4])
    targets = np.array([[0, 1, 2, 3]])
    found = evaluate_onnx(graph, [logits], targets, task="language_modeling")
    assert found.loss_bits == pytest.approx((1 + 2 + 3 + 3) / 4, abs=1e-6)
    assert (found.accuracy, found.predictions.tolist()) == (0.25, [[0, 0, 0, 0]])
    assert found.confidences == pytest.approx(np.full((1, 4), 0.5), abs=1e-3)
    assert (found.low, found.high) == wilson_interval(1, 4)


def test_huge_logits_do_not_overflow(tmp_path: Path) -> None:
    graph = identity(tmp_path / "m.onnx", ["batch", 1, 2])
    logits = np.array([[[3e38, -3e38]]], dtype=np.float32)
    found = evaluate_onnx(graph, [logits], np.array([[0]]), task="language_modeling")
    assert found.loss_bits == 0.0 and found.confidences.item() == 1.0


def test_scoring_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[float] = []
    batches = [np.eye(2, dtype=np.float32)] * 4
    evaluate_onnx(
        identity(tmp_path / "m.onnx", ["batch", 2]), batches, np.zeros(8, int), task="image_classification",
        progress=lambda fraction, message: told.append(fraction),
    )
    assert told == [0.25, 0.5, 0.75, 1.0]


def test_the_speed_up_is_the_ratio_of_medians() -> None:
    rounds = [[[2 * MS, 2 * MS, 50 * MS], [6 * MS, 6 * MS, 6 * MS]] for _ in range(20)]
    record = summarize(rounds)
    assert (record.p50_ms, record.baseline_p50_ms, record.speedup) == (2.0, 6.0, 3.0)
    assert record.p95_ms == 50.0 and record.baseline_p95_ms == 6.0
    assert (record.speedup_low, record.speedup_high, record.samples) == (3.0, 3.0, 60)


def test_noisier_rounds_give_a_wider_interval_around_the_same_centre() -> None:
    def width(noise: float) -> float:
        rng = np.random.default_rng(0)
        rounds = [[[int(MS * (2 + noise * rng.standard_normal()))], [4 * MS]] for _ in range(200)]
        record = summarize(rounds)
        assert record.low_ms <= record.p50_ms <= record.high_ms
        assert record.speedup_low <= 2.0 <= record.speedup_high
        return record.speedup_high - record.speedup_low

    assert width(0.01) < 0.2 * width(0.2)


def test_one_file_against_itself_counts_the_samples_of_both_sides() -> None:
    rounds = [[[1 * MS], [3 * MS]] for _ in range(10)]
    record = summarize(rounds, same=True)
    assert record.p50_ms == record.baseline_p50_ms == 2.0
    assert (record.speedup_low, record.speedup, record.speedup_high, record.samples) == (1.0, 1.0, 1.0, 20)


@pytest.mark.parametrize(
    ("samples", "seconds", "enough"),
    [(199, 30.0, False), (200, 1.9, False), (200, 2.0, True), (3, 60.0, True)],
)
def test_a_full_timing_needs_samples_and_time_but_not_for_ever(samples: int, seconds: float, enough: bool) -> None:
    assert _enough([[[MS] * samples, [MS]]], seconds) is enough


def test_the_environment_names_the_machine_and_nobody() -> None:
    record = environment.environment_record()
    assert record["cpu"] and record["cores"] >= 1
    assert {"torch", "onnxruntime", "python", "system"} <= record.keys()
    assert str(Path.home()) not in str(record) and environment.platform.node() not in map(str, record.values())


def test_a_machine_is_the_same_under_another_python_but_not_with_another_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    record = environment.environment_record()
    key = environment.machine_key()

    def key_with(**changes: object) -> str:
        monkeypatch.setattr(environment, "environment_record", lambda: {**record, **changes})
        return environment.machine_key.__wrapped__()

    assert key_with(python="0.0") == key
    assert len({key, key_with(cpu="another"), key_with(onnxruntime="0.1")}) == 3
    assert math.isfinite(int(key, 16))
