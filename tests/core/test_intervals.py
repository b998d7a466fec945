"""Scores and their intervals against definitions, and the statistics of timings on made-up samples."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from compression.core.intervals import median_interval, paired_interval, wilson_interval
from compression.metrics import environment
from compression.metrics.accuracy import evaluate_onnx
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


def test_the_speed_up_is_the_median_ratio_of_neighbouring_blocks() -> None:
    rounds = [[[2 * pace, 2 * pace, 50 * pace], [6 * pace] * 3] for pace in [MS] * 12 + [4 * MS] * 8]
    record = summarize(rounds)
    assert (record.p50_ms, record.baseline_p50_ms, record.speedup) == pytest.approx((2.0, 6.0, 3.0))
    assert record.baseline_p50_ms / record.p50_ms == pytest.approx(record.speedup)
    assert record.speedup_low < 3.0 < record.speedup_high < 3.01
    assert (record.samples, record.rounds) == (60, 20)


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=12), st.integers(0, 99))
def test_an_interval_of_a_few_blocks_holds_its_median_inside(blocks: list[float], seed: int) -> None:
    center, low, high = median_interval(np.log(blocks), seed)
    assert center == pytest.approx(float(np.median(np.log(blocks))))
    assert low < center < high
    assert high - center == pytest.approx(center - low)


@pytest.mark.parametrize("blocks", [4, 6, 20])
def test_intervals_of_few_blocks_hold_the_truth_about_as_often_as_they_say(blocks: int) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(120):
        _, low, high = median_interval(rng.normal(0.3, 0.1, blocks), seed)
        held += low <= 0.3 <= high
    assert held / 120 >= 0.90


def test_the_paired_interval_has_its_published_value() -> None:
    """The worked example of Altman et al., "Statistics with Confidence" (2000), page 52: 14, 5, 0 and 22 of 41."""
    value, low, high = (float(own) for own in paired_interval(np.array(14.0), np.array(19.0), np.array(14.0), 41))
    assert value == pytest.approx(5 / 41)
    assert (low, high) == pytest.approx((0.011, 0.226), abs=5e-4)


@given(st.lists(st.integers(0, 60), min_size=4, max_size=4).filter(any))
def test_the_paired_interval_holds_the_difference_and_turns_round(counts: list[int]) -> None:
    both, first, second, neither = map(float, counts)
    n = int(both + first + second + neither)
    one, two, right = np.array(both + first), np.array(both + second), np.array(both)
    value, low, high = paired_interval(one, two, right, n)
    assert low - 1e-12 <= value <= high + 1e-12
    turned = paired_interval(two, one, right, n)
    assert [float(own) for own in turned] == pytest.approx([-float(value), -float(high), -float(low)])


def test_pairs_tell_apart_what_two_intervals_do_not() -> None:
    """62 more right and 0 fewer of 10,000: two Wilson intervals overlap, the paired one is above zero."""
    _, low, high = paired_interval(np.array(9500.0), np.array(9562.0), np.array(9500.0), 10_000)
    assert 0.0040 < low < 0.0062 < high < 0.0085
    assert wilson_interval(9500, 10_000)[1] > wilson_interval(9562, 10_000)[0]


def test_noisier_rounds_give_a_wider_interval_around_the_same_centre() -> None:
    def width(noise: float) -> float:
        rng = np.random.default_rng(0)
        rounds = [[[int(MS * (2 + noise * rng.standard_normal()))], [4 * MS]] for _ in range(200)]
        record = summarize(rounds)
        assert record.low_ms < record.p50_ms < record.high_ms
        assert record.speedup_low <= 2.0 <= record.speedup_high
        return record.speedup_high - record.speedup_low

    assert width(0.01) < 0.2 * width(0.2)


def test_the_baseline_is_exactly_as_fast_as_itself() -> None:
    record = summarize([[[1 * MS], [1 * MS + own]] for own in range(10)]).of_baseline()
    assert record.p50_ms == record.baseline_p50_ms == pytest.approx(1.0000045)
    assert record.low_ms < record.p50_ms < record.high_ms
    assert (record.speedup_low, record.speedup, record.speedup_high) == (1.0, 1.0, 1.0)


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
