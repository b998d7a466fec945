"""Architectures of timm with random weights, each through six recipes: ``python -m tests.benchmarks.timm_contract``.

Every recipe's ONNX graph is executed and compared with the compressed PyTorch model on the calibration inputs, and that
with the uncompressed model. Batch-norm statistics are set apart from 0 and 1, so that a wrong fold shows. Needs timm.
"""

import argparse
import copy
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from compression.artifact.graph import calibrate_activations, compile_graph
from compression.artifact.graph.execution import open_session
from compression.artifact.packing import load_packed, pack_model, unpack_model
from compression.context import CompressionContext, StepReport
from compression.errors import NotApplicableError
from compression.experiments.report import text_table
from compression.structure.ends import first_and_last
from compression.techniques import get_technique
from models.own.builders import architecture, build

NAMES = {
    "mobilenetv3_small_050": 64, "efficientnet_lite0": 64, "lcnet_050": 64, "tinynet_e": 64, "regnetx_002": 64,
    "ghostnet_100": 64, "resnet10t": 64, "convnext_atto": 64, "mobilevit_xxs": 64, "vit_tiny_patch16_224": 64,
    "mixer_s32_224": 224, "levit_128s": 224,
}
RECIPES: dict[str, tuple[str, dict[str, Any]] | None] = {
    "baseline": None,
    "W8A8": ("quantization", {"activation_bits": 8}),
    "W4": ("quantization", {"weight_bits": 4}),
    "weight pruning": ("weight_pruning", {"sparsity": 0.5, "criterion": "wanda"}),
    "channel pruning": ("channel_pruning", {"pruning_ratio": 0.3, "criterion": "l2"}),
    "low rank": ("low_rank", {"rank_ratio": 0.75, "method": "svd"}),
}
_CLASSES, _SAMPLES = 10, 8


def subject(name: str, size: int) -> CompressionContext:
    """A network of ten classes, its batch norms with statistics of random inputs."""
    torch.manual_seed(0)
    model, inputs = build(architecture(name), _CLASSES, size), torch.randn(_SAMPLES, 3, size, size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
        model.train()
        for _ in range(3):
            model(inputs)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.add_(torch.randn_like(module.running_mean) * 0.05)
        model.eval().requires_grad_(False)
        targets = model(inputs).argmax(-1)
    return CompressionContext(
        original=model, example_input=inputs[:1], calibration_inputs=inputs, calibration_targets=targets,
        training_batches=lambda epoch: iter(()), task="image_classification", model_key=f"random {name}",
        data_key="random", protected=first_and_last(model, inputs[:1]),
    )


def row(name: str, recipe: str, context: CompressionContext, folder: Path) -> tuple[str, ...]:
    """What one recipe gave."""
    started, inputs, step = time.perf_counter(), context.calibration_inputs, RECIPES[recipe]
    model, report = copy.deepcopy(context.original), StepReport()
    try:
        if step is not None:
            technique = get_technique(step[0])
            model = technique.function(model, technique.config_type(**step[1]), replace(context, report=report)).eval()
        grids = calibrate_activations(model, context.example_input, inputs, folder)
        size = pack_model(model, folder / "weights", activation_grids=grids or None).size_bytes
        load_packed(model, unpack_model(folder / "weights"))
        graph = compile_graph(
            model, context.example_input, folder / "model.onnx", activation_grids=grids or None, cache_dir=folder
        )
    except NotApplicableError as error:
        return name, recipe, "-", "-", "-", "-", f"{time.perf_counter() - started:.1f}", f"not applicable: {error}"
    except Exception as error:  # a table of failures is the purpose
        told = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        return name, recipe, "-", "-", "-", "-", f"{time.perf_counter() - started:.1f}", told
    found = open_session(onnx.load(folder / "model.onnx")).run(["output"], {"input": inputs.numpy()})[0]
    with torch.inference_mode():
        own, original = model(inputs).numpy(), context.original(inputs).numpy()
    integers = f"{sum(kernel == 'int8' for kernel in graph.kernels.values())} of {len(graph.kernels)}"
    return (
        name, recipe, f"{deviation(found, own):.1e}", f"{deviation(own, original):.3f}", f"{size / 1e3:,.0f}", integers,
        f"{time.perf_counter() - started:.1f}", f"{len(report.changed)} changed, {len(report.skipped)} left alone",
    )


def deviation(found: np.ndarray, wanted: np.ndarray) -> float:
    """Distance relative to the deviation of the outputs over the samples."""
    return float(np.linalg.norm(found - wanted) / max(float(np.linalg.norm(wanted - wanted.mean(0))), 1e-12))


def main(names: list[str]) -> None:
    """Print one row per network and recipe."""
    rows = []
    for name in names or NAMES:
        context = subject(name, NAMES.get(name, 224))
        with tempfile.TemporaryDirectory() as folder:
            for recipe in RECIPES:
                rows.append(row(name, recipe, context, Path(folder)))
                sys.stderr.write("  ".join(rows[-1]) + "\n")
    columns = ("network", "recipe", "graph - PyTorch", "error", "kB", "int8", "s", "remarks")
    sys.stdout.write(text_table(columns, rows) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks; all by default: " + ", ".join(NAMES))
    main(parser.parse_args().names)
