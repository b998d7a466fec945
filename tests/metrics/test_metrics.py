"""Figures against hand computations and known values."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from compression.core.errors import CancelledError
from compression.core.intervals import wilson_interval
from compression.metrics.accuracy import evaluate_onnx
from compression.metrics.energy import cost_per_million, estimate_energy
from compression.metrics.latency import LatencyTimer
from compression.metrics.macs import count_macs, count_parameters
from compression.metrics.memory import measure_peak_memory


def matmul_graph(path: Path, size: int, repeats: int = 1) -> Path:
    """A graph of matrix products, input (batch, size)."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array((rng.standard_normal((size, size)) / size).astype(np.float32), "w")
    names = ["input", *(f"h{i}" for i in range(repeats - 1)), "output"]
    nodes = [helper.make_node("MatMul", [names[i], "w"], [names[i + 1]]) for i in range(repeats)]
    shape = ["batch", size]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)], [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def identity_graph(path: Path, shape: list[int | str]) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["output"])], "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (718, 719, 0.9922, 0.9998)],
)
def test_wilson_interval_has_its_published_values(correct: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=1e-4)


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        wilson_interval(0, 0)


def test_accuracy_is_that_of_the_executed_graph(tmp_path: Path) -> None:
    logits = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
    targets = np.array([0, 1, 2, 0, 1, 1])
    graph = identity_graph(tmp_path / "m.onnx", ["batch", 4])
    found = evaluate_onnx(graph, iter([logits[:4], logits[4:]]), targets, task="image_classification")
    assert (found.n, found.accuracy, found.loss_bits) == (6, pytest.approx(4 / 6), None)
    assert found.predictions.tolist() == [0, 1, 2, 3, 0, 1]


def test_bits_per_character_of_a_known_distribution(tmp_path: Path) -> None:
    """Logits of a uniform distribution over four characters are worth two bits each."""
    graph = identity_graph(tmp_path / "m.onnx", ["batch", 5, 4])
    targets = np.arange(10).reshape(2, 5) % 4
    batches = [np.zeros((2, 5, 4), np.float32)]
    found = evaluate_onnx(graph, iter(batches), targets, task="language_modeling")
    assert found.loss_bits == pytest.approx(2.0)
    assert found.n == 10


def test_missing_inputs_are_an_error_and_cancel_stops(tmp_path: Path) -> None:
    graph = identity_graph(tmp_path / "m.onnx", ["batch", 4])
    batch = np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match="2 inputs for 3"):
        evaluate_onnx(graph, iter([batch]), np.zeros(3, int), task="image_classification")
    with pytest.raises(CancelledError):
        evaluate_onnx(graph, iter([batch]), np.zeros(2, int), task="image_classification", cancelled=lambda: True)


def test_macs_of_convolutions_and_linear_layers() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.Flatten(),
        nn.Linear(8 * 4 * 4, 10),
    )
    report = count_macs(model.eval(), torch.zeros(1, 3, 8, 8))
    assert report.by_layer == {"0": 8 * 64 * 27, "1": 8 * 16 * 9, "3": 1280}
    assert report.total == sum(report.by_layer.values())


def test_macs_of_attention_are_in_the_total() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(8, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).chunk(3, -1)
            return (q @ k.transpose(-2, -1)).softmax(-1) @ v

    report = count_macs(Attention().eval(), torch.zeros(1, 5, 8))
    assert report.by_layer == {"qkv": 5 * 8 * 24}
    assert report.total == 5 * 8 * 24 + 2 * 5 * 5 * 8


def test_tied_parameters_count_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    model[0].weight.data[0] = 0
    assert count_parameters(model) == (16, 12)


@pytest.fixture(scope="module")
def timer() -> Iterator[LatencyTimer]:
    own = LatencyTimer()
    yield own
    own.close()


def test_more_work_takes_longer(timer: LatencyTimer, tmp_path: Path) -> None:
    heavy, light = matmul_graph(tmp_path / "h.onnx", 256, 24), matmul_graph(tmp_path / "l.onnx", 256, 2)
    example = np.zeros((16, 256), np.float32)
    slow = timer.time_pair(heavy, light, example, tier="quick")
    fast = timer.time_pair(light, heavy, example, tier="quick")
    assert slow.speedup_high < 1 < fast.speedup_low
    for record in (slow, fast):
        assert record.low_ms <= record.p50_ms <= record.high_ms
        assert record.p50_ms <= record.p95_ms
        assert record.speedup_low <= record.speedup <= record.speedup_high


def test_a_graph_against_itself_is_a_tie(timer: LatencyTimer, tmp_path: Path) -> None:
    graph = matmul_graph(tmp_path / "m.onnx", 64)
    record = timer.time_pair(graph, graph, np.zeros((1, 64), np.float32), tier="quick")
    assert record.speedup_low < 1.0 < record.speedup_high
    assert record.speedup_low < record.speedup < record.speedup_high


def test_cancelling_a_timing_takes_effect_soon(timer: LatencyTimer, tmp_path: Path) -> None:
    graph, other = matmul_graph(tmp_path / "a.onnx", 64), matmul_graph(tmp_path / "b.onnx", 64, 2)
    start = time.monotonic()
    with pytest.raises(CancelledError):
        timer.time_pair(graph, other, np.zeros((1, 64), np.float32), tier="full", cancelled=lambda: True)
    assert time.monotonic() - start < 2


def test_a_graph_that_cannot_be_timed_says_so_and_the_timer_lives_on(timer: LatencyTimer, tmp_path: Path) -> None:
    good = matmul_graph(tmp_path / "g.onnx", 32)
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(RuntimeError, match="cannot be timed"):
        timer.time_pair(tmp_path / "bad.onnx", good, np.zeros((1, 32), np.float32), tier="quick")
    assert timer.time_pair(good, good, np.zeros((1, 32), np.float32), tier="quick").p50_ms > 0


def test_memory_grows_with_the_weights(tmp_path: Path) -> None:
    small, large = matmul_graph(tmp_path / "s.onnx", 16), matmul_graph(tmp_path / "l.onnx", 2048)
    low = measure_peak_memory(small, np.zeros((1, 16), np.float32))
    high = measure_peak_memory(large, np.zeros((1, 2048), np.float32))
    assert low is not None and high is not None
    assert high - low > 0.5 * 4 * 2048**2


def test_energy_and_cost_follow_their_formulas() -> None:
    estimate = estimate_energy(macs_by_kernel={"float32": 10**6, "int8": 10**6}, bytes_moved=1000)
    assert estimate.energy_mj == pytest.approx((10**6 * (4.6 + 0.23) + 1000 * 160) / 1e9)
    assert "Horowitz" in estimate.note
    with pytest.raises(ValueError, match="int3"):
        estimate_energy(macs_by_kernel={"int3": 1}, bytes_moved=0)
    assert cost_per_million(3.6, 0.04) == pytest.approx(0.04)
    assert math.isclose(cost_per_million(0.0, 1.0), 0.0)
