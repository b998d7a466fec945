"""Shipped graphs: found where exports are looked for, used instead of one, never seen half written."""

from pathlib import Path

import pytest
import torch
from torch import nn

from compression.artifact.graph import compile_graph, template
from compression.artifact.graph.lowering import Lowering, plan_lowering
from compression.experiments import graphs, tasks
from compression.experiments.store import ResultStore
from models import datasets, registry
from models.preprocessing import prepare_inputs


def test_a_fresh_store_finds_every_shipped_graph(tmp_path: Path) -> None:
    cache = ResultStore(tmp_path).cache_dir()
    found = {path.name: path.read_bytes() for path in (cache / "graphs").iterdir()}
    assert found == {path.name: path.read_bytes() for path in graphs.SHIPPED.glob("*.onnx")}
    assert set(found) >= {graphs.graph_name(name) for name in graphs.shipped_models()}


def test_a_graph_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    name = next(graphs.SHIPPED.glob("*.onnx")).name
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / name).write_bytes(b"own")
    graphs.seed_graphs(tmp_path)
    assert (tmp_path / "graphs" / name).read_bytes() == b"own"


def test_an_interrupted_copy_is_not_taken_for_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="no space"):
        graphs.seed_graphs(tmp_path)
    assert list((tmp_path / "graphs").glob("*.onnx")) == []


def test_a_shipped_model_is_compiled_without_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exported(*arguments: object) -> bytes:
        raise AssertionError("exported")

    monkeypatch.setattr(template, "_cache", {})
    monkeypatch.setattr(template, "_export_template", exported)
    graphs.seed_graphs(tmp_path)
    example = torch.zeros(1, 1, 32, 32)
    report = compile_graph(registry.load_model("digits_vit"), example, tmp_path / "model.onnx", cache_dir=tmp_path)
    assert report.runtime_size_bytes == (tmp_path / "model.onnx").stat().st_size
    with pytest.raises(AssertionError, match="exported"):
        compile_graph(registry.load_model("digits_resnet"), example, tmp_path / "m.onnx", cache_dir=tmp_path / "empty")


def test_another_architecture_has_another_name_and_other_widths_or_weights_have_not() -> None:
    def name(*layers: nn.Module, size: int = 5) -> str:
        return template.template_key(nn.Sequential(*layers).eval(), torch.ones(1, 3, size, size), Lowering())

    plain = name(nn.Conv2d(3, 4, 3), nn.ReLU())
    assert name(nn.Conv2d(3, 8, 3), nn.ReLU()) == plain
    others = [
        name(nn.Conv2d(3, 4, 1), nn.ReLU()), name(nn.Conv2d(3, 4, 3), nn.GELU()), name(nn.Conv2d(3, 4, 3)),
        name(nn.Conv2d(3, 4, 3, bias=False), nn.ReLU()), name(nn.Conv2d(3, 4, 3), nn.ReLU(), size=6),
    ]
    assert len({plain, *others}) == 6


@pytest.mark.parametrize("name", graphs.shipped_models())
def test_the_name_is_that_of_the_example_that_is_scored(name: str) -> None:
    info = registry.model_info(name)
    inputs = torch.zeros(1, *info.input_shape, dtype=torch.int64 if not info.mean else torch.uint8)
    scored = prepare_inputs(info, inputs)
    model = registry.load_model(name)
    key = template.template_key(model, scored, plan_lowering(model, scored))
    assert graphs.graph_name(name) == f"{key}.onnx"


def test_names_need_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(name: str) -> None:
        raise AssertionError(f"{name} was loaded")

    tasks._load_once.cache_clear()
    monkeypatch.setattr(datasets, "load_dataset", loaded)
    assert {graphs.graph_name(name) for name in graphs.shipped_models()} == {p.name for p in graphs.SHIPPED.iterdir()}


def test_exporting_removes_what_no_model_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "graphs"
    graphs.seed_graphs(tmp_path)
    names = {path.name for path in shipped.iterdir()}
    (shipped / "leftover.onnx").write_bytes(b"old")
    monkeypatch.setattr(graphs, "SHIPPED", shipped)
    files = graphs.export_graphs()
    assert {path.name for path in shipped.iterdir()} == names == {path.name for path in files.values()}
    assert set(files) == set(graphs.shipped_models())
