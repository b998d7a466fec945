"""Thin networks of timm through the benchmark's six recipes: the graph equals PyTorch, integers differ by rounding."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.artifact.graph.execution import open_session
from compression.context import StepReport
from compression.layers import weight_layers
from compression.techniques import get_technique
from tests.benchmarks.timm_contract import RECIPES, deviation, subject
from tests.zoo.timm_networks import SIZE

pytest.importorskip("timm")
ROUNDING = {"thin_mobilenetv3": 0.7, "thin_convnext": 0.1, "thin_vit": 0.15}  # of 8 bits; it grows with depth


@pytest.mark.parametrize("name", ROUNDING)
def test_every_recipe_computes_what_its_graph_does(name: str, tmp_path: Path) -> None:
    context = subject(name, SIZE)
    example, inputs, path = context.example_input, context.calibration_inputs, tmp_path / "model.onnx"
    with torch.inference_mode():
        original = context.original(inputs).numpy()
    for recipe, step in RECIPES.items():
        model, report = copy.deepcopy(context.original), StepReport()
        if step is not None:
            technique = get_technique(step[0])
            config = technique.config_type(**step[1])
            model = technique.function(model, config, replace(context, report=report)).eval()
        grids = calibrate_activations(model, example, inputs, tmp_path)
        written = compile_graph(model, example, path, activation_grids=grids, cache_dir=tmp_path, samples=inputs)
        found = open_session(onnx.load(path)).run(["output"], {"input": inputs.numpy()})[0]
        with torch.inference_mode():
            wanted = model(inputs).numpy()
        assert deviation(found, wanted) < (ROUNDING[name] if grids else 1e-3), recipe
        assert bool(grids) == (recipe == "W8A8")
        if grids:
            assert set(written.kernels) == {fqn for fqn, _ in weight_layers(model)}
            assert sum(kernel == "int8" for kernel in written.kernels.values()) > 0.8 * len(written.kernels)
        assert not any("forward pass" in reason for reason in report.skipped.values()), recipe
        assert bool(report.changed) == (step is not None), recipe
        assert np.allclose(wanted, original) == (step is None), recipe
