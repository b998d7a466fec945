"""What odd networks owe: the graph equals PyTorch, each technique acts or says why not, integers are rounding only."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.artifact.graph.execution import open_session
from compression.artifact.graph.lowering import plan_lowering
from compression.artifact.packing import load_packed, pack_model, unpack_model
from compression.context import Batch, CompressionContext, StepReport
from compression.core.errors import NotApplicableError
from compression.layers import custom_layers, weight_layers
from compression.structure.ends import first_and_last
from compression.techniques import get_technique, list_techniques
from models.preparing import bake, prepare
from tests.zoo.odd_networks import ODD, shared_networks

NETWORKS = ODD | shared_networks()
SAMPLES = 16
SETTINGS: dict[str, dict[str, object]] = {
    "distillation": {"epochs": 1}, "recovery": {"epochs": 1}, "block_sharing": {"n_unique_blocks": 1},
    "weight_pruning": {"criterion": "wanda"}, "weight_sharing": {"n_clusters": 16, "weighting": "uniform"},
    "low_rank": {"method": "svd"}, "binarization": {"threshold": "twn"}, "channel_pruning": {"pruning_ratio": 0.3},
}
FOLDS = {
    "activation_before_norm": set(), "preactivation": set(), "addedbeforenorm": set(), "sharednorm": set(),
    "depthwise_and_norms_of_users": {"0", "5"}, "normreadbytwo": {"enter"}, "sequences_of_users": {"1.0", "2.0"},
    "weight_standardization": {"3"}, "norms_without_affine_part": {"0", "5", "8"}, "functional": set(),
}
NOTHING_SENSIBLE = ("binarization", "distillation", "recovery")  # that change what random weights compute beyond bounds


@lru_cache(maxsize=1)
def made(name: str) -> tuple[nn.Module, CompressionContext]:
    """A network with random weights and statistics away from 0 and 1, and a context of random data."""
    torch.manual_seed(sum(name.encode()))
    model = NETWORKS[name]().eval()
    perturb(model)
    model = bake(prepare(model)).eval().requires_grad_(False)
    inputs = torch.randn(SAMPLES, 1, 32, 32)
    with torch.inference_mode():
        targets = model(inputs).argmax(-1).clone()

    def batches(epoch: int) -> Iterator[Batch]:
        for rows in torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch)).chunk(2):
            yield inputs[rows], targets[rows]

    return model, CompressionContext(
        original=model, example_input=inputs[:1], calibration_inputs=inputs, calibration_targets=targets,
        training_batches=batches, batches_per_epoch=2, task="image_classification", model_key=f"odd-{name}",
        data_key="random", protected=first_and_last(model, inputs[:1]),
    )


def perturb(model: nn.Module) -> None:
    """Batch-norm statistics and affine parts away from 0 and 1, so that a wrong fold shows."""
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None:
            nn.init.normal_(module.running_mean, 0.0, 0.4)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            if module.affine:
                nn.init.normal_(module.weight, 1.0, 0.3)
                nn.init.normal_(module.bias, 0.0, 0.3)


def applied(key: str, name: str, **knobs: Any) -> tuple[nn.Module, StepReport]:
    model, context = made(name)
    technique, report = get_technique(key), StepReport()
    config = technique.config_type(**knobs)
    return technique.function(copy.deepcopy(model), config, replace(context, report=report)).eval(), report


def outputs(model: nn.Module, context: CompressionContext) -> np.ndarray:
    with torch.inference_mode():
        return model(context.calibration_inputs).numpy()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def graph(cache: Path, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Compiles a model, which compares it with its graph, and gives what the graph makes of the inputs."""

    def compiled(model: nn.Module, context: CompressionContext, quantized: bool = False) -> np.ndarray:
        inputs, path = context.calibration_inputs, tmp_path / "model.onnx"
        grids = calibrate_activations(model, inputs[:1], inputs, cache) if quantized else None
        compile_graph(model, inputs[:1], path, activation_grids=grids, cache_dir=cache, samples=inputs)
        return open_session(onnx.load(path)).run(["output"], {"input": inputs.numpy()})[0]

    return compiled


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_equal_the_network(name: str, graph: Callable[..., np.ndarray]) -> None:
    model, context = made(name)
    before = context.calibration_inputs.clone()
    wanted = outputs(model, context)
    span = np.abs(wanted).max()
    np.testing.assert_allclose(graph(model, context), wanted, rtol=1e-3, atol=1e-4 * span)
    if name in FOLDS:
        assert set(plan_lowering(model, context.example_input).folds) == FOLDS[name]
    quantized, report = applied("quantization", name, weight_bits=8, activation_bits=8)
    plain = {fqn for fqn, _ in weight_layers(model)}
    assert plain and set(report.changed) >= {fqn for fqn in plain if fqn not in report.skipped}
    assert set(report.skipped) == set(custom_layers(model)) or not custom_layers(model)
    found = graph(quantized, context, quantized=True)
    assert np.abs(found - outputs(quantized, context)).max() < 0.1 * span
    assert np.abs(found - wanted).max() < 0.1 * span
    assert torch.equal(context.calibration_inputs, before), "the calibration inputs were changed"


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["gatedandviewed", "filters_of_zeros"])
def test_entropy_quantized_layers_run_on_integer_kernels(name: str, cache: Path, tmp_path: Path) -> None:
    """Their biases, stored in 16 bits, are biases of the kernels; the graph is checked when it is written."""
    model, report = applied("entropy_quantization", name, rate=3.0, activation_bits=8)
    inputs = made(name)[1].calibration_inputs
    grids = calibrate_activations(model, inputs[:1], inputs, cache)
    written = compile_graph(
        model, inputs[:1], tmp_path / "model.onnx", activation_grids=grids, cache_dir=cache, samples=inputs
    )
    assert set(written.kernels) == set(report.changed)
    assert set(written.kernels.values()) == {"int8"} and not written.reasons


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_baked_spectral_norms_ask_no_state_for_their_parts() -> None:
    model, _ = made("filters_of_zeros")
    copy.deepcopy(model).load_state_dict(model.state_dict())
    assert bool((model.get_parameter("2.weight").flatten(1).abs().amax(1) == 0).any())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_each_technique_acts_or_says_why_not(name: str, graph: Callable[..., np.ndarray], tmp_path: Path) -> None:
    _, context = made(name)
    wanted = outputs(context.original, context)
    for technique in list_techniques():
        try:
            model, report = applied(technique.key, name, **SETTINGS.get(technique.key, {}))
        except NotApplicableError as error:
            assert str(error) and "\n" not in str(error)
            continue
        assert report.changed or report.skipped or report.notes, technique.key
        found = outputs(model, context)
        assert found.shape == wanted.shape and np.isfinite(found).all(), technique.key
        if technique.key not in NOTHING_SENSIBLE:
            assert np.abs(found - wanted).max() < 3 * np.ptp(wanted) + 1e-3, technique.key
        np.testing.assert_allclose(graph(model, context), found, rtol=1e-3, atol=1e-3 * np.abs(found).max())
        pack_model(model, tmp_path / "weights")
        again = copy.deepcopy(model)
        load_packed(again, unpack_model(tmp_path / "weights"))
        assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
