"""Networks made ready on import: plain weights, one tensor as output, the caller's data left alone."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from compression.layers import custom_layers, weight_layers
from models import registry
from models.checkpoints import read_checkpoint
from models.errors import ModelError
from models.outputs import chosen_output
from models.parametrizations import bake_parametrizations, has_parametrizations
from models.preparing import bake, preparation_notes, prepare
from tests.zoo.odd_networks import DataclassOutput, DictOutput, NamedTupleOutput


class Doubled(nn.Module):
    """A parametrization of a user."""

    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def _doubled(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Doubled())
    return layer


KINDS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weightnorm": parametrizations.weight_norm, "spectralnorm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal, "doubled": _doubled,
    "weight norm": nn.utils.weight_norm, "spectral norm": nn.utils.spectral_norm,
    "pruning mask": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", [False, True])
def test_computed_weights_become_plain_ones(kind: str, frozen: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), KINDS[kind](nn.Linear(6, 6)))
    x = torch.randn(4, 6)
    with torch.no_grad():
        model(x)  # a training pass moves the estimate of spectral norm
    model.eval().requires_grad_(not frozen)
    with torch.no_grad():
        wanted = model(x)
    assert has_parametrizations(model)
    assert bake_parametrizations(model) == [f"Baked into plain weights, {kind}: 1.weight."]
    assert not has_parametrizations(model) and type(model[1]) is nn.Linear
    assert set(model.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    with torch.no_grad():
        torch.testing.assert_close(model(x), wanted)
        again = copy.deepcopy(model)
        again.load_state_dict(model.state_dict())
        torch.testing.assert_close(again(x), wanted)


@pytest.mark.parametrize("baked", [False, True], ids=["as trained", "baked"])
def test_both_forms_of_a_weights_file_are_loaded(baked: bool, tmp_path: Path) -> None:
    def build() -> nn.Module:
        return prepare(nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 3)))

    torch.manual_seed(1)
    trained, x = build().eval(), torch.randn(4, 6)
    wanted = trained(x).detach()
    source = bake(copy.deepcopy(trained)) if baked else trained
    save_file({key: value.clone() for key, value in source.state_dict().items()}, tmp_path / "w.safetensors")
    model = build()
    registry._load(model, read_checkpoint(tmp_path / "w.safetensors"), "w")
    model = bake(model).eval()
    torch.testing.assert_close(model(x).detach(), wanted)
    assert preparation_notes(model) == ["Baked into plain weights, weightnorm: 0.weight."]


@pytest.mark.parametrize(
    ("network", "chosen"),
    [
        (NamedTupleOutput, "Of 2 outputs the prediction is features: features, scores."),
        (DictOutput, "Of 2 outputs the prediction is logits: features, logits."),
        (DataclassOutput, "Of 2 outputs the prediction is logits: logits, hidden."),
    ],
)
def test_the_prediction_among_several_outputs_is_taken_and_reported(network: type[nn.Module], chosen: str) -> None:
    model = copy.deepcopy(prepare(network().eval()))
    output = model(torch.randn(3, 1, 32, 32))
    assert output.shape == (3, 10) and chosen_output(model) == chosen
    assert preparation_notes(model) == [chosen]


def test_an_output_without_a_tensor_is_refused_in_a_line() -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> SimpleNamespace:
            return SimpleNamespace(x=x)

    with pytest.raises(TypeError, match="returns SimpleNamespace without a tensor"):
        prepare(Wrong())(torch.ones(1, 3))


def test_one_sample_that_was_squeezed_gets_its_batch_dimension_back() -> None:
    class Squeezed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.squeeze()

    model = prepare(Squeezed())
    assert model(torch.ones(1, 5, 1)).shape == (1, 5) and model(torch.ones(2, 5, 1)).shape == (2, 5)


def test_a_network_that_changes_its_input_gets_a_copy() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sub_(1.0)

    model, x = prepare(InPlace()), torch.ones(2, 3)
    with torch.inference_mode():
        assert [float(model(x).sum()) for _ in range(3)] == [0.0, 0.0, 0.0] and bool((x == 1).all())
    harmless, x = prepare(nn.Identity()), torch.ones(2, 3)
    harmless(x)
    assert harmless(x) is x, "no copy once it is known to be harmless"


def test_batch_norms_without_running_statistics_are_refused_in_a_line() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.BatchNorm2d(4))
    with pytest.raises(ModelError, match=r"^batch norm '1' has no running statistics .*predictions would depend"):
        bake(model)
    assert bake(nn.Sequential(nn.InstanceNorm2d(4), nn.BatchNorm2d(4))) is not None


def test_layers_that_equal_pytorchs_become_those_and_others_stay() -> None:
    layers = pytest.importorskip("timm.layers")

    class Shifted(layers.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1

    model = nn.Sequential(layers.Linear(4, 8), Shifted(8, 8), nn.Linear(8, 2))
    inputs, state = torch.randn(3, 4), copy.deepcopy(model.state_dict())
    wanted = model(inputs)
    model = prepare(model)
    assert list(custom_layers(model)) == ["1"]
    assert [fqn for fqn, _ in weight_layers(model)] == ["0", "2"]
    torch.testing.assert_close(model(inputs), wanted, rtol=0, atol=0)
    model.load_state_dict(state)


def test_closed_parts_and_weights_of_other_types_are_refused() -> None:
    linear = nn.Linear(2, 2)
    with pytest.raises(ModelError, match=r"the weight '1.weight' is bfloat16 .* allowed: float32"):
        bake(prepare(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).to(torch.bfloat16))))
    with pytest.raises(ModelError, match="the LSTM '0' has a proj_size"):
        bake(nn.Sequential(nn.LSTM(4, 4, proj_size=2)))
    with pytest.raises(ModelError, match="'1' is a TorchScript module"):
        bake(nn.Sequential(linear, torch.jit.trace(nn.Linear(2, 2), torch.randn(1, 2))))


@pytest.mark.parametrize("kind", ["Conv2dSame", "StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame"])
def test_convolutions_of_timm_become_plain_ones_and_compute_the_same(kind: str) -> None:
    layers = pytest.importorskip("timm.layers")
    torch.manual_seed(0)
    more = {"padding": "SAME"} if "Std" in kind and kind.endswith("Same") else {}
    made = [
        getattr(layers, kind)(3, 4, 3, stride=2, **more), getattr(layers, kind)(4, 5, (3, 5), stride=(3, 2), **more),
        getattr(layers, kind)(5, 4, 3, stride=1, dilation=2, **more),
    ]
    model = nn.Sequential(*made).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    inputs = [torch.randn(2, 3, size, size + 1) for size in (24, 31)]
    wanted = [model(x) for x in inputs]
    model = bake(prepare(model))
    assert all(type(layer) is nn.Conv2d for layer in model)
    for x, own in zip(inputs, wanted, strict=True):
        torch.testing.assert_close(model(x), own)
    notes = ["Baked into plain weights, weight standardization: 0.weight, 1.weight, 2.weight."]
    assert preparation_notes(model) == ([] if kind == "Conv2dSame" else notes)
