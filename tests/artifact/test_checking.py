"""A graph that does not compute what the model does is an error that names the first layer that differs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.artifact.graph import compile as compiling
from compression.artifact.graph import weights as filling
from compression.core.errors import GraphError
from compression.metrics.environment import int8_weight_bits
from compression.state import ActivationQuantization, state_of
from tests.artifact.networks import attention, residual
from tests.artifact.test_graph import put_on_grids


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def quantized(cache: Path) -> tuple[nn.Module, Tensor, dict[str, Any]]:
    """A residual network of 8-bit weights and activations, its inputs and its grids."""
    model, inputs = residual()
    put_on_grids(model, int8_weight_bits())
    state_of(model).activations = ActivationQuantization(range_method="minmax")
    return model, inputs, calibrate_activations(model, inputs[:1], inputs, cache)


def test_a_right_graph_passes_on_many_samples(cache: Path, tmp_path: Path) -> None:
    model, inputs, grids = quantized(cache)
    report = compile_graph(
        model, inputs[:1], tmp_path / "m.onnx", activation_grids=grids, cache_dir=cache, samples=inputs
    )
    assert set(report.kernels.values()) == {"int8"}


class Rewritten(nn.Conv2d):
    """A convolution whose forward pass is not the plain class's, so that its weight stays in float."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=1)


def test_a_weight_that_stays_in_float_is_not_rounded_by_the_runtime(cache: Path, tmp_path: Path) -> None:
    """Between quantized values ONNX Runtime would round a constant float weight to 8 bits without being asked."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), Rewritten(16, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.Flatten(), nn.Linear(16 * 64, 4),
    ).eval().requires_grad_(False)
    with torch.no_grad():
        model[2].weight[0] *= 50  # one large channel, which a single scale for all would not resolve
    inputs, path = torch.randn(8, 1, 8, 8), tmp_path / "m.onnx"
    put_on_grids(model, int8_weight_bits())
    state_of(model).encodings.pop("2.weight", None)
    state_of(model).activations = ActivationQuantization(range_method="minmax")
    grids = calibrate_activations(model, inputs[:1], inputs, cache)
    report = compile_graph(model, inputs[:1], path, activation_grids=grids, cache_dir=cache, samples=inputs)
    assert "2" not in report.kernels and report.kernels["4"] == "int8"
    readers = [node for node in onnx.load(path).graph.node if "2.weight" in node.input]
    assert len(readers) == 1 and not readers[0].input[0].endswith(".dq")


def _flipped(symbols: np.ndarray) -> np.ndarray:
    changed = symbols.copy()
    changed[0] = -changed[0]
    return changed


def _transposed(symbols: np.ndarray) -> np.ndarray:
    return symbols.T.reshape(symbols.shape).copy()


@pytest.mark.parametrize(("layer", "change"), [("conv1", _flipped), ("conv2", _flipped), ("linear", _transposed)])
def test_integer_weights_that_differ_are_named(
    layer: str, change: Any, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, inputs, grids = quantized(cache)
    right = compiling.integer_weights

    def wrong(*arguments: Any) -> Any:
        found, reasons = right(*arguments)
        return {**found, layer: replace(found[layer], symbols=change(found[layer].symbols))}, reasons

    monkeypatch.setattr(compiling, "integer_weights", wrong)
    with pytest.raises(GraphError, match=f"first difference: {layer} ") as error:
        compile_graph(model, inputs[:1], tmp_path / "m.onnx", activation_grids=grids, cache_dir=cache, samples=inputs)
    assert error.value.layer == layer and not (tmp_path / "m.onnx").exists()


def test_packed_weights_that_differ_are_named(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = attention()
    put_on_grids(model, 4)
    state_of(model).compute_dtype = "int8"
    compile_graph(model, inputs[:1], tmp_path / "right.onnx", cache_dir=cache, samples=inputs)
    right = compiling.block_weights

    def wrong(model: nn.Module) -> Any:
        found, reasons = right(model)
        return {**found, "key": replace(found["key"], scale=found["key"].scale * np.float32(1.2))}, reasons

    monkeypatch.setattr(compiling, "block_weights", wrong)
    with pytest.raises(GraphError, match="first difference: key "):
        compile_graph(model, inputs[:1], tmp_path / "m.onnx", cache_dir=cache, samples=inputs)


def test_float_weights_that_differ_are_named(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = attention()
    right = filling.lowered_tensors

    def wrong(*arguments: Any) -> dict[str, Tensor]:
        tensors = right(*arguments)
        return tensors | {"value.weight": tensors["value.weight"].flip(0)}

    monkeypatch.setattr(filling, "lowered_tensors", wrong)
    with pytest.raises(GraphError, match="first difference: value "):
        compile_graph(model, inputs[:1], tmp_path / "m.onnx", cache_dir=cache, samples=inputs)


def test_what_a_blank_example_hides_is_seen_on_real_samples(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(4, 3)).eval(), torch.randn(8, 4)
    right = filling.lowered_tensors

    def wrong(*arguments: Any) -> dict[str, Tensor]:
        return {name: value * 1.1 if value.ndim == 2 else value for name, value in right(*arguments).items()}

    monkeypatch.setattr(filling, "lowered_tensors", wrong)
    compile_graph(model, torch.zeros(1, 4), tmp_path / "blank.onnx", cache_dir=cache)
    with pytest.raises(GraphError, match="first difference: 0 "):
        compile_graph(model, torch.zeros(1, 4), tmp_path / "m.onnx", cache_dir=cache, samples=inputs)
