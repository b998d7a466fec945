"""The timing process: started when needed, replaced when it dies, clear about what cannot be timed."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from compression.metrics import latency_process
from compression.metrics.latency import LatencyTimer
from compression.metrics.memory import measure_peak_memory

EXAMPLE = np.zeros((1, 8), np.float32)


@pytest.fixture(scope="module")
def timer() -> Iterator[LatencyTimer]:
    own = LatencyTimer()
    yield own
    own.close()


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return relu(tmp_path_factory.mktemp("graph") / "relu.onnx", "output")


def relu(path: Path, output: str) -> Path:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in ("input", output)]
    proto = helper.make_graph([helper.make_node("Relu", ["input"], [output])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(proto, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def child(timer: LatencyTimer) -> psutil.Process:
    assert timer._child is not None
    return psutil.Process(timer._child.pid)


def test_a_timer_that_died_is_replaced(timer: LatencyTimer, graph: Path) -> None:
    assert timer.time_pair(graph, graph, EXAMPLE, tier="quick").p50_ms > 0
    first = child(timer)
    first.kill()
    first.wait(10)
    assert timer.time_pair(graph, graph, EXAMPLE, tier="quick").p50_ms > 0
    assert child(timer).pid != first.pid


def test_a_missing_file_is_named(timer: LatencyTimer, graph: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"cannot be timed: FileNotFoundError.*gone\.onnx"):
        timer.time_pair(tmp_path / "gone.onnx", graph, EXAMPLE, tier="quick")


def test_an_input_of_another_shape_is_an_error_and_no_end(timer: LatencyTimer, graph: Path) -> None:
    timer.start()
    before = child(timer).pid
    with pytest.raises(RuntimeError, match="cannot be timed"):
        timer.time_pair(graph, graph, np.zeros((1, 9), np.float32), tier="quick")
    assert timer.time_pair(graph, graph, EXAMPLE, tier="quick").samples > 0
    assert child(timer).pid == before


def test_a_changed_file_is_loaded_anew(timer: LatencyTimer, graph: Path, tmp_path: Path) -> None:
    changing = tmp_path / "m.onnx"
    changing.write_bytes(graph.read_bytes())
    timer.time_pair(changing, graph, EXAMPLE, tier="quick")
    relu(changing, "elsewhere")
    with pytest.raises(RuntimeError, match="cannot be timed"):
        timer.time_pair(changing, graph, EXAMPLE, tier="quick")


def test_closing_ends_the_process_and_may_be_repeated(graph: Path) -> None:
    own = LatencyTimer()
    own.close()
    own.start()
    process = child(own)
    own.close()
    own.close()
    assert not process.is_running()


def test_memory_of_what_does_not_load_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(Exception, match="memory_process"):
        measure_peak_memory(tmp_path / "bad.onnx", EXAMPLE)


@pytest.mark.parametrize(("taken", "counted"), [((), range(5)), ((1, 3), (0, 2, 4)), (range(9), range(5))])
def test_runs_during_which_the_core_was_taken_away_do_not_count(
    taken: Iterable[int], counted: Iterable[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run i takes 1 ms and i ns on a clock of ours, a block 5 ms; in the runs named, the system switches."""
    runs = {"switches": 0, "done": 0, "ns": 0}

    class Session:
        def run(self, outputs: object, feed: object) -> None:
            runs["switches"] += runs["done"] in taken
            runs["ns"] += 1_000_000 + runs["done"]
            runs["done"] += 1

    monkeypatch.setattr(latency_process, "_switches", lambda: runs["switches"])
    monkeypatch.setattr(latency_process.time, "perf_counter", lambda: runs["done"] * 1e-3)
    monkeypatch.setattr(latency_process.time, "perf_counter_ns", lambda: runs["ns"])
    assert latency_process._block(Session(), {}) == [1_000_000 + run for run in counted]
