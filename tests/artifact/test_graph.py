"""The written graph computes what the model computes, on the kernels it says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from compression.artifact.graph import GraphReport, calibrate_activations, compile_graph
from compression.artifact.graph import compile as compiling
from compression.artifact.graph.compile import structure_key
from compression.artifact.graph.execution import open_session
from compression.artifact.graph.lowering import plan_lowering
from compression.grids import codebook_indices, decode_codebook, dequantize, quantize_to_grid
from compression.layers import weight_layers
from compression.metrics.environment import int8_weight_bits
from compression.state import ActivationQuantization, Codebook, HalfPrecision, UniformGrid, state_of
from tests.artifact.networks import attention, residual

Build = Callable[[], tuple[nn.Module, Tensor]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def put_on_grids(model: nn.Module, bits: int, group_size: int = 0, affine: bool = False) -> None:
    """Round every weight layer to the nearest point of a grid per channel or group."""
    for fqn, layer in weight_layers(model):
        rows = layer.weight.detach().flatten(1)
        if group_size and rows.shape[1] % group_size == 0:
            blocks, size = rows.unflatten(1, (-1, group_size)), group_size
        else:
            blocks, size = rows.unsqueeze(1), 0
        if affine:
            low, high = blocks.amin(-1).clamp(max=0), blocks.amax(-1).clamp(min=0)
            scale = (high - low) / (2**bits - 1)
            zero = torch.round(-low / scale).to(torch.int32)
        else:
            scale, zero = blocks.abs().amax(-1) / (2 ** (bits - 1) - 1), None
        if not size:
            scale, zero = scale[:, 0], None if zero is None else zero[:, 0]
        grid = UniformGrid(bits, scale, zero, size)
        layer.weight.data = dequantize(quantize_to_grid(layer.weight.detach(), grid), grid)
        state_of(model).encodings[f"{fqn}.weight"] = grid


def put_on_codebooks(model: nn.Module, values: list[float]) -> None:
    """Replace weights by their nearest codebook entry times a scale per filter."""
    for fqn, layer in weight_layers(model):
        codebook = Codebook(torch.tensor(values), layer.weight.detach().abs().flatten(1).mean(1))
        indices = codebook_indices(layer.weight.detach(), codebook)
        layer.weight.data = decode_codebook(indices, codebook)
        state_of(model).encodings[f"{fqn}.weight"] = codebook


def halve(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.half().float()
        state_of(model).encodings[name] = HalfPrecision()


ENCODINGS: dict[str, Callable[[nn.Module], None]] = {
    "float32": lambda model: None,
    "8 bits": lambda model: put_on_grids(model, 8),
    "3 bits": lambda model: put_on_grids(model, 3),
    "affine 4 bits": lambda model: put_on_grids(model, 4, affine=True),
    "affine 8 bits": lambda model: put_on_grids(model, 8, affine=True),
    "groups": lambda model: put_on_grids(model, 4, group_size=8),
    "codebook": lambda model: put_on_codebooks(model, [-2.0, -0.7, 0.0, 0.3, 1.1]),
    "ternary": lambda model: put_on_codebooks(model, [-1.0, 0.0, 1.0]),
    "float16": halve,
}


def compiled(model: nn.Module, inputs: Tensor, path: Path, cache: Path) -> tuple[GraphReport, np.ndarray]:
    grids = calibrate_activations(model, inputs[:1], inputs, cache)
    report = compile_graph(model, inputs[:1], path, activation_grids=grids, cache_dir=cache)
    return report, open_session(onnx.load(path)).run(["output"], {"input": inputs.numpy()})[0]


@pytest.mark.parametrize("build", [residual, attention])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_graph_computes_what_the_model_does(build: Build, encoding: str, tmp_path: Path, cache: Path) -> None:
    model, inputs = build()
    ENCODINGS[encoding](model)
    report, found = compiled(model, inputs, tmp_path / "m.onnx", cache)
    with torch.inference_mode():
        np.testing.assert_allclose(found, model(inputs).numpy(), rtol=1e-3, atol=1e-4)
    assert report.runtime_size_bytes == (tmp_path / "m.onnx").stat().st_size
    assert set(report.kernels.values()) == {"float32"}


@pytest.mark.parametrize("build", [residual, attention])
def test_eight_bit_activations_run_on_integer_kernels(build: Build, tmp_path: Path, cache: Path) -> None:
    model, inputs = build()
    put_on_grids(model, int8_weight_bits())
    state_of(model).activations = ActivationQuantization()
    report, found = compiled(model, inputs, tmp_path / "m.onnx", cache)
    assert set(report.kernels.values()) == {"int8"}, report.reasons
    with torch.inference_mode():
        wanted = model(inputs).numpy()
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()
    assert np.abs(found - wanted).max() > 0, "the activations were not quantized"


def test_ternary_weights_run_on_integer_kernels(tmp_path: Path, cache: Path) -> None:
    model, inputs = residual()
    put_on_codebooks(model, [-1.0, 0.0, 1.0])
    state_of(model).activations = ActivationQuantization()
    report, _ = compiled(model, inputs, tmp_path / "m.onnx", cache)
    assert set(report.kernels.values()) == {"int8"}


def test_layers_that_stay_in_float_say_why(tmp_path: Path, cache: Path) -> None:
    model, inputs = residual()
    put_on_grids(model, int8_weight_bits())
    put_codebook = Codebook(torch.tensor([-0.3, 0.0, 0.21]))
    layer = model.get_submodule("linear")
    layer.weight.data = decode_codebook(codebook_indices(layer.weight.detach(), put_codebook), put_codebook)
    state_of(model).encodings["linear.weight"] = put_codebook
    state_of(model).activations = ActivationQuantization(excluded=("conv1",))
    report, _ = compiled(model, inputs, tmp_path / "m.onnx", cache)
    assert report.kernels == {"conv1": "float32", "conv2": "int8", "linear": "float32"}
    assert "excluded" in report.reasons["conv1"]
    assert "integer grid" in report.reasons["linear"]


def test_integer_weights_are_the_model_s_own_symbols(tmp_path: Path, cache: Path) -> None:
    model, inputs = residual()
    put_on_grids(model, 5)
    state_of(model).activations = ActivationQuantization()
    compiled(model, inputs, tmp_path / "m.onnx", cache)
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    grid = state_of(model).encodings["conv1.weight"]
    symbols = quantize_to_grid(model.get_submodule("conv1").weight.detach(), grid).numpy()
    sign = np.sign(model.get_submodule("bn1").weight.detach().numpy()).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(held["conv1.weight.symbols"], symbols * sign)


def test_four_bit_weights_take_half_a_byte_in_the_file(tmp_path: Path, cache: Path) -> None:
    sizes = {}
    for bits in (4, 8):
        model, inputs = residual()
        put_on_grids(model, bits)
        sizes[bits], _ = compiled(model, inputs, tmp_path / f"{bits}.onnx", cache)
    weights = sum(layer.weight.numel() for _, layer in weight_layers(residual()[0]))
    saved = sizes[8].runtime_size_bytes - sizes[4].runtime_size_bytes
    assert abs(saved - weights / 2) < 0.05 * weights


def test_structure_key_follows_structure_and_not_values(tmp_path: Path, cache: Path) -> None:
    keys = {}
    for name, build, bits in (("a", residual, 8), ("b", lambda: residual(seed=1), 8), ("c", residual, 0)):
        model, inputs = build()
        if bits:
            put_on_grids(model, bits)
        keys[name] = compile_graph(model, inputs[:1], tmp_path / "m.onnx", cache_dir=cache).structure_key
    assert keys["a"] == keys["b"] != keys["c"]


def test_structure_key_follows_the_size_of_the_input(tmp_path: Path, cache: Path) -> None:
    model, inputs = residual()
    keys = {
        side: compile_graph(model, inputs[:1, :, :side, :side], tmp_path / "m.onnx", cache_dir=cache).structure_key
        for side in (inputs.shape[-1], inputs.shape[-1] - 2)
    }
    assert len(set(keys.values())) == 2


def test_structure_key_follows_attributes_and_the_values_of_shapes() -> None:
    def graph(stride: int, rows: int) -> onnx.ModelProto:
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", None, None, None]) for n in ("x", "y")]
        kernel = numpy_helper.from_array(np.zeros((1, 1, 1, 1), np.float32), "w")
        shape = numpy_helper.from_array(np.array([0, 1, rows, -1]), "shape")
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[stride, stride]),
            helper.make_node("Reshape", ["c", "shape"], ["y"]),
        ]
        return helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [kernel, shape]))

    keys = {structure_key(graph(*own)) for own in ((1, 2), (2, 2), (1, 4), (1, 2))}
    assert len(keys) == 3


def test_other_widths_need_no_new_export(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = attention()
    compile_graph(model, inputs[:1], tmp_path / "wide.onnx", cache_dir=cache)

    def refuse(*arguments: object, **settings: object) -> None:
        raise AssertionError("exported again")

    monkeypatch.setattr(compiling, "export_model", refuse)
    narrow, inputs = attention(width=8)
    _, found = compiled(narrow, inputs, tmp_path / "narrow.onnx", cache)
    with torch.inference_mode():
        np.testing.assert_allclose(found, narrow(inputs).numpy(), rtol=1e-3, atol=1e-4)


def test_half_precision_graph_holds_no_float32_weights(tmp_path: Path, cache: Path) -> None:
    model, inputs = attention()
    halve(model)
    state_of(model).compute_dtype = "float16"
    half, found = compiled(model, inputs, tmp_path / "half.onnx", cache)
    assert set(half.kernels.values()) == {"float16"}
    with torch.inference_mode():
        np.testing.assert_allclose(found, model(inputs).numpy(), atol=2e-2)
    kinds = {t.data_type for t in onnx.load(tmp_path / "half.onnx").graph.initializer}
    assert TensorProto.FLOAT16 in kinds and TensorProto.FLOAT not in kinds


def test_batch_norm_behind_a_shared_output_is_not_folded() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.a, self.b = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.a(x) + self.b(x)

    assert plan_lowering(Forked().eval(), torch.randn(1, 3, 4, 4)).folds == {}


def input_grid(method: str, cache: Path, outlier: float) -> tuple[np.ndarray, float, int]:
    model, inputs = residual()
    put_on_grids(model, int8_weight_bits())
    inputs[0, 0, 0, 0] = outlier
    state_of(model).activations = ActivationQuantization(range_method=method, percentile=99.0)
    scale, zero, bits = calibrate_activations(model, inputs[:1], inputs, cache)["input"]
    assert bits == 8 and 0 <= zero <= 255
    return inputs.numpy(), scale, zero


def test_minmax_range_holds_every_value(cache: Path) -> None:
    _, scale, zero = input_grid("minmax", cache, 60.0)
    assert scale * (255 - zero) >= 59.5


def test_percentile_range_leaves_outliers_out(cache: Path) -> None:
    _, scale, zero = input_grid("percentile", cache, 60.0)
    assert scale * (255 - zero) < 5


def test_mse_range_rounds_no_worse_than_minmax(cache: Path) -> None:
    def error(method: str) -> float:
        values, scale, zero = input_grid(method, cache, 6.0)
        symbols = np.clip(np.rint(values / scale) + zero, 0, 255)
        return float(np.square((symbols - zero) * scale - values).mean())

    assert error("mse") <= error("minmax")


class Clamped(nn.Module):
    """Bounds of which one is a whole number and the other a float, in every way they are written."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.clip(torch.clamp(x, min=-1, max=0.75), -0.25, 1)
        return y.clamp(0, 0.5) + (x * 4).long().clamp(-2, 3) + x.clone().clamp_(-0.5, 2)


def test_bounds_of_two_types_are_exported(tmp_path: Path, cache: Path) -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(8, 6), Clamped()).eval().requires_grad_(False), torch.randn(16, 8)
    compile_graph(model, inputs[:1], tmp_path / "model.onnx", cache_dir=cache, samples=inputs)
    found = open_session(onnx.load(tmp_path / "model.onnx")).run(["output"], {"input": inputs.numpy()})[0]
    np.testing.assert_allclose(found, model(inputs).numpy(), rtol=1e-4, atol=1e-5)
