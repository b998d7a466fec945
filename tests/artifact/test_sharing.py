"""Weights that layers share lie once in the ONNX file, and run as fast as when each had its copy."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.artifact.graph.comparison import differing_weights
from compression.artifact.graph.execution import open_session, optimized_graph
from compression.artifact.graph.integers import wide_layers
from compression.grids import dequantize, quantize_to_grid
from compression.solvers.grids import choose_grid
from compression.state import ActivationQuantization, HalfPrecision, spread_to_tied, state_of

VOCABULARY, WIDTH = 96, 16
TABLE = VOCABULARY * WIDTH


class Tied(nn.Module):
    """A head tied to the embedding, and two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.norm = nn.Embedding(VOCABULARY, WIDTH), nn.LayerNorm(WIDTH)
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight, self.second.weight = self.emb.weight, self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.emb(x)
        h = h + torch.relu(self.first(self.norm(h)))
        h = h + torch.relu(self.second(self.norm(h)))
        return self.head(h.mean(1))


@pytest.fixture(scope="module")
def subject() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return Tied().eval().requires_grad_(False), torch.randint(0, VOCABULARY, (16, 6))


def encoded(model: nn.Module, encoding: str) -> nn.Module:
    """A copy with its weights rounded."""
    made = copy.deepcopy(model)
    for name in ("emb.weight", "first.weight"):
        weight = made.get_parameter(name)
        if encoding == "16 bits":
            weight.copy_(weight.half().float())
            state_of(made).encodings[name] = HalfPrecision()
        elif encoding != "float":
            bits, granularity = (4, "group") if encoding == "4 bits" else (8, "channel")
            grid = choose_grid(weight, bits, granularity, 8)
            weight.copy_(dequantize(quantize_to_grid(weight, grid), grid))
            state_of(made).encodings[name] = grid
    if encoding == "8-bit activations":
        state_of(made).activations = ActivationQuantization(range_method="minmax")
    spread_to_tied(made)
    return made


@pytest.mark.parametrize("encoding", ["float", "16 bits", "4 bits", "8 bits", "8-bit activations"])
def test_a_shared_weight_is_held_once_and_moved_when_the_file_is_loaded(
    subject: tuple[nn.Module, Tensor], encoding: str, tmp_path: Path
) -> None:
    plain, ids = subject
    model, path = encoded(plain, encoding), tmp_path / "model.onnx"
    grids = calibrate_activations(model, ids[:1], ids, tmp_path)
    report = compile_graph(model, ids[:1], path, activation_grids=grids, cache_dir=tmp_path, samples=ids)
    proto = onnx.load(path)
    sizes = [int(np.prod(tensor.dims)) for tensor in proto.graph.initializer]
    assert sizes.count(TABLE) == 1 and sizes.count(WIDTH * WIDTH) == 1
    assert not {node.op_type for node in optimized_graph(proto).graph.node} & {"Transpose", "Identity"}
    kernel = "int8" if encoding == "8-bit activations" else "float32"
    assert set(report.kernels.values()) == {kernel}
    found = open_session(proto).run(["output"], {"input": ids.numpy()})[0]
    wanted = model(ids).numpy()
    tolerance = 0.05 if grids else 1e-5
    assert np.abs(found - wanted).max() < tolerance * np.abs(wanted).max()
    compared, wrong = differing_weights(model, proto, ids[:1], grids)
    assert compared == 8 + len(grids) and not wrong
    if grids:
        assert sorted(wide_layers(proto)) == ["first", "head", "second"]


def test_a_changed_value_of_the_shared_weight_is_found(subject: tuple[nn.Module, Tensor], tmp_path: Path) -> None:
    model, ids = subject
    path = tmp_path / "model.onnx"
    compile_graph(model, ids[:1], path, cache_dir=tmp_path, samples=ids)
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        if tensor.name == "emb.weight":
            values = numpy_helper.to_array(tensor).copy()
            values[3, 2] += 0.5
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    assert differing_weights(model, proto, ids[:1])[1] == ["emb.weight", "head.weight"]
