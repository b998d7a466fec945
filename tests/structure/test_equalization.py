"""Channels rescaled so that ranges match, while the network computes what it did."""

import copy
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compression.calibration.batch_norm import batch_norms, correct_batch_norm
from compression.calibration.hessian import collect_hessians, fitting_hessian
from compression.context import CompressionContext
from compression.layers import weight_layers
from compression.solvers.grids import choose_grid
from compression.state import state_of
from compression.structure import find_groups, remove_units
from compression.structure.equalization import equalize
from compression.structure.scaling import input_sizes, output_sizes
from tests.techniques.networks import KINDS, subject


class Plain(nn.Module):
    """Convolutions without batch norm, one of them depthwise, pooled and flattened into linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1, groups=8), nn.LeakyReLU(),
            nn.MaxPool2d(2), nn.Conv2d(16, 6, 1, groups=2), nn.ReLU(inplace=True),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(6 * 16, 12), nn.ReLU(), nn.Linear(12, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


def plain(**changes: Any) -> tuple[nn.Module, CompressionContext]:
    """A network with channels of very different ranges, and the context of a run."""
    torch.manual_seed(0)
    model, inputs = Plain().eval().requires_grad_(False), torch.randn(32, 2, 8, 8)
    for _, layer in weight_layers(model):
        layer.weight.mul_(torch.randn(len(layer.weight)).exp().reshape(-1, *[1] * (layer.weight.ndim - 1)))
    settings = {"original": model, "example_input": inputs[:1], "calibration_inputs": inputs, "model_key": "plain"}
    return model, subject("residual", **{**settings, **changes}).context


def rough(kind: str) -> tuple[nn.Module, CompressionContext]:
    """One of the tiny networks whose batch norms are not those of fresh ones."""
    made = subject(kind)
    generator = torch.Generator().manual_seed(1)
    for norm in batch_norms(made.model).values():
        norm.weight.copy_(torch.randn(norm.num_features, generator=generator))
        norm.bias.copy_(torch.randn(norm.num_features, generator=generator))
    made.context.model_key += " rough"
    return made.model, made.context


def assert_same_function(first: nn.Module, second: nn.Module, inputs: Tensor) -> None:
    wanted = second(inputs)
    assert (first(inputs) - wanted).abs().max() <= 1e-4 * wanted.abs().max()


def test_links_are_balanced_and_the_function_stays() -> None:
    original, context = plain()
    model = copy.deepcopy(original)
    assert equalize(model, context) == (0, 4)
    assert_same_function(model, original, context.calibration_inputs)
    layers = dict(weight_layers(model))
    for first, second in itertools.pairwise(layers):
        made, read = output_sizes(layers[first]), input_sizes(layers[second])
        ratio = made / read.reshape(len(made), -1).amax(1)
        assert ratio.max() < 1.6 and ratio.min() > 0.6, "ranges on both sides of a link should match"
    before = [output_sizes(layer) for _, layer in weight_layers(original)][:-1]
    after = [output_sizes(layer) for _, layer in weight_layers(model)][:-1]
    assert sum(float(s.max() / s.min()) for s in after) < 0.5 * sum(float(s.max() / s.min()) for s in before)


def test_two_linked_layers_follow_the_formula() -> None:
    torch.manual_seed(0)
    original = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).eval().requires_grad_(False)
    inputs = torch.randn(8, 5)
    context = plain(original=original, example_input=inputs[:1])[1]
    model = copy.deepcopy(original)
    equalize(model, context)
    factors = (original[0].weight.abs().amax(1) / original[2].weight.abs().amax(0)).sqrt()
    torch.testing.assert_close(model[0].weight, original[0].weight / factors[:, None])
    torch.testing.assert_close(model[0].bias, original[0].bias / factors)
    torch.testing.assert_close(model[2].weight, original[2].weight * factors)
    state = state_of(model)
    torch.testing.assert_close(state.output_scales["0"], 1 / factors)
    torch.testing.assert_close(state.input_scales["2"], 1 / factors)


@pytest.mark.parametrize(("kind", "found"), [("residual", (7, 3)), ("depthwise", (10, 0))])
def test_batch_norms_take_the_scale_of_their_layers(kind: str, found: tuple[int, int]) -> None:
    original, context = rough(kind)
    model = copy.deepcopy(original)
    assert equalize(model, context) == found
    assert_same_function(model, original, context.calibration_inputs)
    sizes = {fqn: output_sizes(layer) for fqn, layer in weight_layers(model)}
    for fqn in ("stem", *(name for name in sizes if name.endswith(("conv2", "depthwise.0", "expand.0")))):
        assert sizes[fqn].max() < 1.01 * sizes[fqn].min() or "conv2" in fqn, fqn


@pytest.mark.parametrize("kind", ["residual", "depthwise"])
def test_batch_norm_correction_knows_of_the_scale(kind: str) -> None:
    original, context = rough(kind)
    model = copy.deepcopy(original)
    equalize(model, context)
    before = {f: (n.running_mean.clone(), n.running_var.clone()) for f, n in batch_norms(model).items()}
    correct_batch_norm(model, context)
    for fqn, norm in batch_norms(model).items():
        torch.testing.assert_close(norm.running_mean, before[fqn][0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(norm.running_var, before[fqn][1], rtol=1e-3, atol=1e-4)


def test_hessians_follow_the_scale_of_the_inputs() -> None:
    original, context = plain()
    model = copy.deepcopy(original)
    equalize(model, context)
    wanted = collect_hessians(model, context.calibration_inputs, context)
    scales = state_of(model).input_scales
    assert len(scales) == 4
    for fqn, _ in weight_layers(model):
        found = fitting_hessian(fqn, model, context)
        torch.testing.assert_close(found, wanted[fqn], rtol=1e-3, atol=1e-4 * float(wanted[fqn].max()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_equalized_is_left_as_it_is(kind: str) -> None:
    made = subject(kind, exclude=("stem", "blocks", "classifier", "head"))
    model = copy.deepcopy(made.model)
    assert equalize(model, made.context) == (0, 0)
    ours, theirs = model.state_dict(), made.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_layers_that_lie_on_a_grid_are_left_alone() -> None:
    original, context = plain()
    model = copy.deepcopy(original)
    name = "features.2.weight"
    state_of(model).encodings[name] = choose_grid(model.get_parameter(name), 8)
    assert equalize(model, context) == (0, 2)
    assert torch.equal(model.get_parameter(name), original.get_parameter(name))


def test_dead_channels_stay_dead() -> None:
    original, context = plain()
    original.features[0].weight[3] = 0
    original.features[2].weight[4:6] = 0
    model = copy.deepcopy(original)
    equalize(model, context)
    assert_same_function(model, original, context.calibration_inputs)
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_removed_channels_lose_their_scale() -> None:
    original, context = rough("residual")
    model = copy.deepcopy(original)
    equalize(model, context)
    groups = find_groups(model, context.example_input, context.model_key, context.protected[-1:])[0]
    group = next(g for g in groups if g.name == "blocks.0.conv1")
    keep = torch.tensor([0, 3, 4, 9])
    before = {**state_of(model).input_scales}
    remove_units(model, group, keep)
    after = state_of(model).input_scales
    for fqn in ("blocks.0.bn1", "blocks.0.conv2"):
        assert torch.equal(after[fqn], before[fqn][keep])
    assert len(state_of(model).output_scales["blocks.0.conv1"]) == 4
    assert correct_batch_norm(model, context) is not None
