"""Layers split into two or three: graphs, packed files and integer kernels."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.artifact.graph.execution import open_session
from compression.artifact.packing import load_packed, pack_model, unpack_model
from compression.grids import dequantize, quantize_to_grid
from compression.layers import weight_layers
from compression.metrics.environment import int8_weight_bits
from compression.solvers.grids import choose_grid
from compression.solvers.tucker import tucker2_factors
from compression.state import ActivationQuantization, state_of
from compression.structure.factorized import FactorizedConv2d, FactorizedLinear, TuckerConv2d


class Convolutions(nn.Module):
    """Strides, paddings, dilation, a bias or a batch norm behind, an oblong kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.dilated = nn.Conv2d(16, 12, 3, padding=2, dilation=2)
        self.oblong = nn.Conv2d(12, 16, (3, 1), padding=(1, 0))
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.strided(x)))
        return self.linear(torch.relu(self.oblong(torch.relu(self.dilated(x)))).mean((2, 3)))


def whole() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Convolutions().eval().requires_grad_(False), torch.randn(8, 3, 12, 12)


def tucker_layer(layer: nn.Conv2d, inner: int, outer: int) -> TuckerConv2d:
    first, core, last = tucker2_factors(layer.weight.flatten(2), None, inner, outer)
    return TuckerConv2d(layer, first, core.unflatten(2, layer.kernel_size), last)


def tucker(model: nn.Module) -> None:
    for fqn in ("strided", "dilated", "oblong"):
        layer = model.get_submodule(fqn)
        inner, outer = max(2, layer.in_channels - 2), layer.out_channels - 3
        model.set_submodule(fqn, tucker_layer(layer, inner, outer))


def pairs(model: nn.Module) -> None:
    for fqn in ("strided", "dilated", "oblong"):
        layer, rank = model.get_submodule(fqn), 5
        first = torch.randn(rank, *layer.weight.shape[1:]) / 5
        model.set_submodule(fqn, FactorizedConv2d(layer, first, torch.randn(layer.out_channels, rank)))
    model.linear = FactorizedLinear(model.linear, torch.randn(4, 16), torch.randn(10, 4))


SPLITS = pytest.mark.parametrize("split", [tucker, pairs])
Split = Callable[[nn.Module], None]


def compiled(model: nn.Module, inputs: Tensor, folder: Path) -> tuple[dict[str, str], np.ndarray]:
    path, cache = folder / "m.onnx", folder / "cache"
    grids = calibrate_activations(model, inputs[:1], inputs, cache)
    report = compile_graph(model, inputs[:1], path, activation_grids=grids, cache_dir=cache)
    return report.kernels, open_session(onnx.load(path)).run(["output"], {"input": inputs.numpy()})[0]


@SPLITS
def test_the_graph_computes_what_the_split_model_does(split: Split, tmp_path: Path) -> None:
    model, inputs = whole()
    split(model)
    model.requires_grad_(False)
    kernels, found = compiled(model, inputs, tmp_path)
    np.testing.assert_allclose(found, model(inputs).numpy(), rtol=1e-3, atol=1e-4)
    assert set(kernels) == {fqn for fqn, _ in weight_layers(model)}


@SPLITS
def test_every_part_runs_on_integer_kernels(split: Split, tmp_path: Path) -> None:
    model, inputs = whole()
    split(model)
    model.requires_grad_(False)
    for fqn, layer in weight_layers(model):
        grid = choose_grid(layer.weight, int8_weight_bits())
        layer.weight.data = dequantize(quantize_to_grid(layer.weight, grid), grid)
        state_of(model).encodings[f"{fqn}.weight"] = grid
    state_of(model).activations = ActivationQuantization()
    kernels, found = compiled(model, inputs, tmp_path)
    assert set(kernels.values()) == {"int8"}
    wanted = model(inputs).numpy()
    assert 0 < np.abs(found - wanted).max() < 0.2 * np.abs(wanted).max()


@SPLITS
def test_a_packed_file_gives_every_part_back_bit_by_bit(split: Split, tmp_path: Path) -> None:
    model, _ = whole()
    split(model)
    model.requires_grad_(False)
    pack_model(model, tmp_path / "w.packed")
    empty = copy.deepcopy(model)
    for parameter in empty.parameters():
        parameter.data.fill_(float("nan"))
    load_packed(empty, unpack_model(tmp_path / "w.packed"))
    for name, value in model.state_dict().items():
        assert torch.equal(empty.state_dict()[name], value), name


def test_full_ranks_give_the_layer_back() -> None:
    model, inputs = whole()
    wanted = model(inputs)
    for fqn in ("strided", "dilated", "oblong"):
        layer = model.get_submodule(fqn)
        parts = tucker_layer(layer, layer.in_channels, layer.out_channels)
        assert {n: p.shape for n, p in parts.merged().named_parameters()} == {
            n: p.shape for n, p in layer.named_parameters()
        }
        model.set_submodule(fqn, parts)
    torch.testing.assert_close(model(inputs).detach(), wanted, rtol=1e-3, atol=1e-4)
