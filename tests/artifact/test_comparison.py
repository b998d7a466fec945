"""A written graph is compared with a model tensor by tensor, in the layout in which each lies there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.artifact.graph.comparison import differing_weights
from compression.metrics.environment import int8_weight_bits
from compression.state import ActivationQuantization, state_of
from tests.artifact.networks import residual
from tests.artifact.test_graph import ENCODINGS, put_on_grids


class Square(nn.Module):
    """A square linear layer, whose transpose has the same shape, between a folded and a standing batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8)
        self.square, self.standing, self.last = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x))).mean((2, 3))
        return self.last(self.standing(torch.relu(self.square(x))))


def square() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = Square()
    for norm in (model.norm, model.standing):
        nn.init.normal_(norm.weight, 0.3, 1.0)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return model.eval(), torch.randn(32, 3, 8, 8)


def quantized(model: nn.Module) -> None:
    put_on_grids(model, int8_weight_bits())
    state_of(model).activations = ActivationQuantization()


KINDS: dict[str, Callable[[nn.Module], None]] = {**ENCODINGS, "8-bit activations": quantized}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("build", [residual, square])
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_holds_its_model_and_nothing_near_it(
    build: Callable[[], tuple[nn.Module, Tensor]], kind: str, cache: Path, tmp_path: Path
) -> None:
    model, inputs = build()
    KINDS[kind](model)
    grids = calibrate_activations(model, inputs[:1], inputs, cache)
    compile_graph(model, inputs[:1], tmp_path / "m.onnx", activation_grids=grids, cache_dir=cache, samples=inputs)
    proto = onnx.load(tmp_path / "m.onnx")
    compared, wrong = differing_weights(model, proto, inputs[:1], grids)
    assert wrong == [] and compared >= 6
    for name in ("square", "linear", "conv1"):
        tensor = next((t for t in proto.graph.initializer if t.name.startswith(f"{name}.weight")), None)
        if tensor is None:
            continue
        edited = onnx.ModelProto.FromString(proto.SerializeToString())
        tensor = next(t for t in edited.graph.initializer if t.name == tensor.name)
        values = numpy_helper.to_array(tensor)
        changed = values.T if name == "square" and values.ndim == 2 else values[::-1]
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(changed), tensor.name))
        assert differing_weights(model, edited, inputs[:1], grids)[1] == [f"{name}.weight"]
    if grids:
        other = {name: (scale * 1.5, zero, bits) for name, (scale, zero, bits) in grids.items()}
        assert set(differing_weights(model, proto, inputs[:1], other)[1]) == set(grids)
