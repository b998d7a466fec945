"""Energy by counters, against counters that a thread moves."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save_model

from compression.metrics.power import COUNTERS, measure_energy, microjoules_between, readable_counters

_STEP_UJ, _STEP_S = 100_000, 0.02  # 5 W


def counter(root: Path, name: str, start: int = 0) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "energy_uj").write_text(f"{start}\n")
    (folder / "max_energy_range_uj").write_text("1000000000\n")
    return folder


@contextmanager
def moving(folders: list[Path]) -> Iterator[None]:
    """Counters that take 5 W while the block runs."""
    stop = threading.Event()

    def move() -> None:
        begin = time.monotonic()
        while not stop.wait(_STEP_S):
            spent = int((time.monotonic() - begin) / _STEP_S * _STEP_UJ)
            for folder in folders:
                new = folder / "new"
                new.write_text(f"{spent}\n")
                new.rename(folder / "energy_uj")

    thread = threading.Thread(target=move)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    shape = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 64])
    out = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 64])
    made = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "g", [shape], [out])
    path = tmp_path / "g.onnx"
    save_model(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_packages_count_and_their_parts_do_not(tmp_path: Path) -> None:
    packages = [counter(tmp_path, "intel-rapl:0"), counter(tmp_path, "intel-rapl:1")]
    counter(tmp_path, "intel-rapl:0:0")
    (tmp_path / "intel-rapl:2").mkdir()
    assert readable_counters(tmp_path) == packages


def test_a_counter_that_began_again_is_followed() -> None:
    assert microjoules_between(10, 25, 100) == 15
    assert microjoules_between(95, 5, 100) == 10


def test_moving_counters_give_energy_per_run(graph: Path, tmp_path: Path) -> None:
    example, found = np.zeros((1, 64), np.float32), []
    for name, packages in (("one", 1), ("two", 2)):
        folders = [counter(tmp_path / name, f"intel-rapl:{i}") for i in range(packages)]
        with moving(folders):
            energy = measure_energy(graph, example, root=tmp_path / name)
        assert energy is not None
        found.append(energy)
    assert all(0 < energy < 5.0 for energy in found)  # 5 W, and a run takes well under a second


def test_no_counter_or_a_dead_one_is_no_figure(graph: Path, tmp_path: Path) -> None:
    example = np.zeros((1, 64), np.float32)
    assert measure_energy(graph, example, root=tmp_path / "nowhere") is None
    counter(tmp_path, "intel-rapl:0", start=7)
    assert measure_energy(graph, example, root=tmp_path) is None


@pytest.mark.skipif(not readable_counters(), reason=f"no readable energy counters under {COUNTERS}")
def test_this_processor_takes_energy(graph: Path) -> None:
    energy = measure_energy(graph, np.zeros((1, 64), np.float32))
    assert energy is not None and energy > 0
