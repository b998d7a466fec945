"""Linear layers on packed weights: the bytes are the model's own weights, and the kernel computes with them."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from compression.artifact.graph import GraphReport, compile_graph
from compression.artifact.graph.blocks import block_weights
from compression.artifact.graph.comparison import differing_weights
from compression.artifact.graph.execution import open_session
from compression.artifact.packing import load_packed, pack_model, unpack_model
from compression.core.errors import InputError
from compression.grids import dequantize, quantize_to_grid
from compression.layers import weight_layers
from compression.solvers.grids import choose_grid
from compression.state import Codebook, UniformGrid, spread_to_tied, state_of
from compression.structure.factorized import FactorizedLinear
from compression.techniques.quantization import QuantizationConfig
from tests.artifact.networks import attention, residual


class Pair(nn.Module):
    """Two linear layers with different kinds of bias, on tokens."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


def pair(inputs: int = 96, hidden: int = 40, outputs: int = 7) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Pair(inputs, hidden, outputs).eval(), torch.randn(5, 9, inputs)


def affine(weight: Tensor, bits: int) -> UniformGrid:
    """Grid from the least to the largest value of each channel; its zero points differ."""
    low, high = weight.amin(1).clamp(max=0), weight.amax(1).clamp(min=0)
    scale = (high - low) / (2**bits - 1)
    return UniformGrid(bits, scale, torch.round(-low / scale).to(torch.int32))


GRIDS = {
    "channel": lambda w: choose_grid(w, 4),
    "tensor": lambda w: choose_grid(w, 4, "tensor"),
    "groups of 16": lambda w: choose_grid(w, 4, "group", 16),
    "groups of 48": lambda w: choose_grid(w, 4, "group", 48),
    "3 bits": lambda w: choose_grid(w, 3),
    "2 bits in groups": lambda w: choose_grid(w, 2, "group", 32),
    "affine": lambda w: affine(w + 0.05, 4),
    "8 bits": lambda w: choose_grid(w, 8),
    "affine 8 bits": lambda w: affine(w + 0.05, 8),
    "6 bits": lambda w: choose_grid(w, 6),
}


def put(model: nn.Module, grid: str = "channel") -> nn.Module:
    """Round weight layers to grids and ask for integer kernels."""
    for fqn, layer in weight_layers(model):
        rows = layer.weight.detach().flatten(1)
        chosen = GRIDS[grid](rows)
        layer.weight.data = dequantize(quantize_to_grid(rows, chosen), chosen).reshape(layer.weight.shape)
        state_of(model).encodings[f"{fqn}.weight"] = chosen
    state_of(model).compute_dtype = "int8"
    return model


def written(model: nn.Module, inputs: Tensor, folder: Path) -> tuple[GraphReport, onnx.ModelProto]:
    report = compile_graph(model, inputs[:1], folder / "m.onnx", cache_dir=folder)
    return report, onnx.load(folder / "m.onnx")


def executed(proto: onnx.ModelProto, inputs: Tensor, level: int) -> np.ndarray:
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    for attribute in (a for node in copy.graph.node for a in node.attribute if a.name == "accuracy_level"):
        attribute.i = level
    return open_session(copy).run(["output"], {"input": inputs.numpy()})[0]


def products(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in proto.graph.node if node.op_type == "MatMulNBits"]


def by_hand(proto: onnx.ModelProto, node: onnx.NodeProto) -> np.ndarray:
    """The weight of a product, value by value as the operator's documentation says."""
    held = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    number = {a.name: a.i for a in node.attribute}
    bits, block, packed, scale = number["bits"], number["block_size"], held[node.input[1]], held[node.input[2]]
    zeros = held[node.input[3]] if len(node.input) > 3 and node.input[3] else None
    values = np.zeros((number["N"], number["K"]), dtype=np.float32)

    def symbol(row: np.ndarray, index: int) -> int:
        return (int(row[index * bits // 8]) >> (index * bits % 8)) & (2**bits - 1)

    for n in range(number["N"]):
        for k in range(number["K"]):
            b = k // block
            zero = 2 ** (bits - 1) if zeros is None else symbol(zeros[n], b)
            values[n, k] = np.float32(symbol(packed[n, b], k % block) - zero) * scale[n, b]
    return values


@pytest.mark.parametrize("grid", GRIDS)
def test_the_packed_weights_are_the_model_s(grid: str, tmp_path: Path) -> None:
    model, inputs = pair()
    put(model, grid)
    _, proto = written(model, inputs, tmp_path)
    first = products(proto)[0]
    np.testing.assert_array_equal(by_hand(proto, first), model.get_submodule("first").weight.detach().numpy())


@pytest.mark.parametrize("grid", GRIDS)
def test_the_kernel_computes_what_the_model_does(grid: str, tmp_path: Path) -> None:
    model, inputs = pair()
    put(model, grid)
    _, proto = written(model, inputs, tmp_path)
    assert len(products(proto)) == 2
    with torch.inference_mode():
        wanted = model(inputs).numpy()
    for level in (0, 1):
        np.testing.assert_allclose(executed(proto, inputs, level), wanted, rtol=1e-4, atol=1e-4)
    error = np.abs(executed(proto, inputs, 4) - wanted).max() / np.abs(wanted).max()
    assert error < 0.03


def test_the_written_graph_asks_for_integer_products(tmp_path: Path) -> None:
    model, inputs = pair(256, 256, 128)
    put(model)
    _, proto = written(model, inputs, tmp_path)
    assert all(a.i == 4 for node in products(proto) for a in node.attribute if a.name == "accuracy_level")
    assert len(proto.graph.node) == 3, "a bias was left as a node of its own, or weights are expanded"
    kinds = {t.name: t.data_type for t in proto.graph.initializer if len(t.dims) > 1 and not t.name.endswith("scale")}
    assert kinds == dict.fromkeys(["first.weight.blocks", "second.weight.blocks"], onnx.TensorProto.UINT8)


@pytest.mark.parametrize("inputs", [1, 15, 33, 157, 300])
def test_any_number_of_inputs_fits(inputs: int, tmp_path: Path) -> None:
    model, batch = pair(inputs, 17, 3)
    put(model)
    _, proto = written(model, batch, tmp_path)
    with torch.inference_mode():
        wanted = model(batch).numpy()
    np.testing.assert_allclose(executed(proto, batch, 0), wanted, rtol=1e-4, atol=1e-4)
    assert np.abs(executed(proto, batch, 4) - wanted).max() < 0.03 * np.abs(wanted).max()


def test_blocks_cost_the_fewest_bytes_and_respect_groups() -> None:
    sizes = {}
    layers = ((640, "channel"), (160, "channel"), (16, "channel"), (96, "groups of 16"), (96, "groups of 48"))
    for inputs, grid in layers:
        found, _ = block_weights(put(pair(inputs)[0], grid))
        sizes[inputs, grid] = found["first"].block
    assert list(sizes.values()) == [128, 32, 16, 16, 16]


def test_layers_are_named_with_their_kernels_and_convolutions_with_the_reason(tmp_path: Path) -> None:
    model, inputs = residual()
    put(model)
    report, _ = written(model, inputs, tmp_path)
    assert report.kernels == {"conv1": "float32", "conv2": "float32", "linear": "int4"}
    assert report.reasons["conv1"] == "the runtime has no 4-bit kernel for convolutions"
    again, _ = written(model, inputs, tmp_path)  # from the kept answer
    assert again.kernels == report.kernels
    eight, inputs = residual()
    report, _ = written(put(eight, "8 bits"), inputs, tmp_path)
    assert report.kernels["linear"] == "int8" and "8-bit activations" in report.reasons["conv2"]


def test_layers_without_a_block_form_stay_in_float_and_say_why(tmp_path: Path) -> None:
    model, inputs = attention()
    put(model)
    state = state_of(model)
    weight = model.get_submodule("key").weight
    narrow = choose_grid(weight.detach(), 4, "group", 8)
    weight.data = dequantize(quantize_to_grid(weight.detach(), narrow), narrow)
    state.encodings["key.weight"] = narrow
    del state.encodings["query.weight"]
    weight = model.get_submodule("value").weight
    weight.data = weight.data.sign()
    state.encodings["value.weight"] = Codebook(torch.tensor([-1.0, 0.0, 1.0]))
    report, proto = written(model, inputs, tmp_path)
    assert [name for name, kernel in report.kernels.items() if kernel == "float32"] == ["query", "key", "value"]
    assert "groups of 8 inputs" in report.reasons["key"]
    assert "not on a grid" in report.reasons["query"] and "not on a grid" in report.reasons["value"]
    with torch.inference_mode():
        np.testing.assert_allclose(executed(proto, inputs, 0), model(inputs).numpy(), rtol=1e-3, atol=1e-4)


def test_a_head_tied_to_its_embedding_and_split_layers_run_on_packed_weights(tmp_path: Path) -> None:
    model, inputs = attention()
    model.head.weight = model.embedding.weight
    old = model.output
    split = FactorizedLinear(old, torch.randn(5, 16), torch.randn(16, 5))
    model.set_submodule("output", split)
    put(model.eval())
    spread_to_tied(model)
    report, proto = written(model, inputs, tmp_path)
    assert set(report.kernels.values()) == {"int4"} and {"head", "output.0", "output.1"} <= set(report.kernels)
    with torch.inference_mode():
        wanted = model(inputs).numpy()
    np.testing.assert_allclose(executed(proto, inputs, 0), wanted, rtol=1e-3, atol=1e-4)


def test_a_layer_that_is_used_twice_stays_in_float(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(32, 32)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(torch.relu(self.layer(x)))

    torch.manual_seed(0)
    model, inputs = put(Twice().eval()), torch.randn(4, 6, 32)
    report, proto = written(model, inputs, tmp_path)
    assert report.kernels == {"layer": "float32"} and "more than once" in report.reasons["layer"]
    with torch.inference_mode():
        np.testing.assert_allclose(executed(proto, inputs, 4), model(inputs).numpy(), rtol=1e-3, atol=1e-4)


def test_packed_products_are_a_structure_of_their_own(tmp_path: Path) -> None:
    keys = {}
    for name, dtype, grid in (("float", None, "channel"), ("int4", "int8", "channel"), ("int8", "int8", "8 bits")):
        model, inputs = pair()
        put(model, grid)
        state_of(model).compute_dtype = dtype
        keys[name] = written(model, inputs, tmp_path)[0].structure_key
    assert len(set(keys.values())) == 3


def test_the_packed_file_keeps_the_choice_and_tells_other_weights(tmp_path: Path) -> None:
    model, inputs = pair()
    put(model)
    pack_model(model, tmp_path / "w.packed")
    packed = unpack_model(tmp_path / "w.packed")
    fresh, _ = pair()
    load_packed(fresh, packed)
    report, proto = written(fresh, inputs, tmp_path)
    assert set(report.kernels.values()) == {"int4"}
    compared, wrong = differing_weights(fresh, proto, inputs[:1])
    assert compared >= 2 and wrong == []
    for suffix in (".blocks", ".scale"):
        edited = onnx.ModelProto.FromString(proto.SerializeToString())
        tensor = next(t for t in edited.graph.initializer if t.name == f"first.weight{suffix}")
        values = numpy_helper.to_array(tensor).copy()
        values.flat[0] = values.flat[0] + 1
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        assert differing_weights(fresh, edited, inputs[:1]) == (compared, ["first.weight"])
    tensor = next(t for t in edited.graph.initializer if t.name == "second.weight.blocks")
    tensor.CopyFrom(numpy_helper.from_array(np.zeros((2, 3, 5), dtype=np.uint8), tensor.name))
    assert differing_weights(fresh, edited, inputs[:1])[1] == ["first.weight", "second.weight"]


def test_quantized_activations_and_integer_kernels_for_float_ones_exclude_each_other() -> None:
    with pytest.raises(InputError, match="linear_kernel"):
        QuantizationConfig(weight_bits=4, activation_bits=8, linear_kernel="integer")
