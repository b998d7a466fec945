"""Outliers of activations moved into weights, while the network computes what it did."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compression.calibration.batch_norm import calibration_sample
from compression.calibration.smoothing import smooth
from compression.state import state_of
from tests.techniques.networks import Subject, subject

NORMS = {"gpt": 5, "vision_transformer": 4}
READERS = {"norm1": ("attention.query", "attention.key", "attention.value"), "norm2": ("fc1",)}


def with_outliers(kind: str, **changes: Any) -> Subject:
    """A transformer whose layer norms have a few channels of a large range."""
    made = subject(kind, **changes)
    for module in made.model.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight[3], module.weight[7] = 20.0, -0.05
            module.bias[3] = 4.0
    made.context.model_key += " with outliers"
    return made


def largest(model: nn.Module, fqn: str, inputs: Tensor) -> Tensor:
    found: list[Tensor] = []
    handle = model.get_submodule(fqn).register_forward_hook(lambda m, a, output: found.append(output))
    model(inputs)
    handle.remove()
    return found[0].abs().flatten(0, -2).amax(0)


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0])
def test_the_function_stays(alpha: float, kind: str) -> None:
    made = with_outliers(kind)
    model = copy.deepcopy(made.model)
    assert len(smooth(model, alpha, made.context)) == NORMS[kind]
    inputs = made.context.calibration_inputs
    wanted = made.model(inputs)
    assert (model(inputs) - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    assert not torch.equal(model.blocks[0].norm1.weight, made.model.blocks[0].norm1.weight)


def test_scales_follow_the_formula() -> None:
    made = with_outliers("gpt")
    model, alpha = copy.deepcopy(made.model), 0.4
    smooth(model, alpha, made.context)
    sample = calibration_sample(made.context)
    for norm, readers in READERS.items():
        fqn = f"blocks.0.{norm}"
        weights = [made.model.get_submodule(f"blocks.0.{r}").weight for r in readers]
        range_of_weights = torch.stack([w.abs().amax(0) for w in weights]).amax(0)
        factors = largest(made.model, fqn, sample) ** alpha / range_of_weights ** (1 - alpha)
        torch.testing.assert_close(model.get_submodule(fqn).weight, made.model.get_submodule(fqn).weight / factors)
        torch.testing.assert_close(model.get_submodule(fqn).bias, made.model.get_submodule(fqn).bias / factors)
        for reader, weight in zip(readers, weights, strict=True):
            torch.testing.assert_close(model.get_submodule(f"blocks.0.{reader}").weight, weight * factors)
            torch.testing.assert_close(state_of(model).input_scales[f"blocks.0.{reader}"], 1 / factors)


def test_all_of_the_range_can_go_into_the_weights() -> None:
    made = with_outliers("vision_transformer")
    model, sample = copy.deepcopy(made.model), calibration_sample(made.context)
    smooth(model, 1.0, made.context)
    assert largest(made.model, "blocks.0.norm2", sample).max() > 10
    torch.testing.assert_close(largest(model, "blocks.0.norm2", sample), torch.ones(16), rtol=1e-4, atol=1e-4)


def test_layer_norms_of_excluded_layers_are_left_alone() -> None:
    made = with_outliers("gpt", exclude=("blocks.0.attention.key", "blocks.1", "norm"))
    model = copy.deepcopy(made.model)
    assert smooth(model, 0.5, made.context) == ["blocks.0.norm2"]
    assert torch.equal(model.blocks[0].norm1.weight, made.model.blocks[0].norm1.weight)
    assert torch.equal(model.norm.weight, made.model.norm.weight)


def test_networks_without_layer_norms_are_left_alone() -> None:
    made = subject("residual")
    assert smooth(copy.deepcopy(made.model), 0.5, made.context) == []
