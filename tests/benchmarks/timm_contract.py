"""Architectures of timm with random weights, each through six recipes: ``python -m tests.benchmarks.timm_contract``.

Every recipe's ONNX graph is executed and compared with the compressed PyTorch model on the calibration inputs, and that
with the uncompressed model. With 8-bit activations the first figure holds their rounding too; that nothing but rounding
is in it, `compile_graph` checks layer by layer before it writes the file. A thin MaxViT of torchvision is tried beside
them. Needs timm.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from importlib import import_module
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
from compression.core.errors import NotApplicableError
from compression.reports.text import text_table
from compression.structure.ends import first_and_last
from compression.techniques import get_technique
from models.preparing import bake, prepare
from models.user.builders import architecture, build
from tests.zoo.settling import pictures, settle
from tests.zoo.timm_networks import SIZE, THIN

NAMES = {
    "mobilenetv3_small_050": 64, "efficientnet_lite0": 64, "lcnet_050": 64, "tinynet_e": 64, "regnetx_002": 64,
    "ghostnet_100": 64, "resnet10t": 64, "convnext_atto": 64, "mobilevit_xxs": 64, "vit_tiny_patch16_224": 64,
    "mixer_s32_224": 224, "levit_128s": 224, "thin_maxvit": 64,
    **dict.fromkeys(THIN, SIZE),
}
RECIPES: dict[str, tuple[str, dict[str, Any]] | None] = {
    "baseline": None,
    "W8A8": ("quantization", {"activation_bits": 8}),
    "W4": ("quantization", {"weight_bits": 4}),
    "weight pruning": ("weight_pruning", {"sparsity": 0.5, "criterion": "wanda"}),
    "channel pruning": ("channel_pruning", {"pruning_ratio": 0.3, "criterion": "l2"}),
    "low rank": ("low_rank", {"rank_ratio": 0.75, "method": "svd"}),
}
_CLASSES, _SAMPLES = 10, 16


def network(name: str, size: int) -> nn.Module:
    """A network of ten classes with random weights."""
    if name == "thin_maxvit":
        maxvit = import_module("torchvision.models.maxvit")
        return prepare(maxvit.MaxVit(
            (size, size), 16, 2, [16, 32], [2, 1], 8, 0.0, mlp_ratio=2, num_classes=_CLASSES
        ))
    if name in THIN:
        return prepare(THIN[name]())
    return build(architecture(name), _CLASSES, size)


@torch.no_grad()
def _widen(model: nn.Module) -> None:
    """Draw matrices again that start near zero: the lowest scores of all weights would be one whole layer's."""
    for parameter in model.parameters():
        usual = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.0
        if float(parameter.square().mean().sqrt()) < 0.2 * usual:
            nn.init.normal_(parameter, 0.0, usual)


def subject(name: str, size: int) -> CompressionContext:
    """A network of ten classes that tells random pictures apart."""
    torch.manual_seed(0)
    model, inputs = bake(network(name, size)), pictures(_SAMPLES, size)
    _widen(model)
    settle(model, inputs)
    with torch.inference_mode():
        targets = model(inputs).argmax(-1).clone()
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
            model, context.example_input, folder / "model.onnx", activation_grids=grids or None, cache_dir=folder,
            samples=inputs,
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
        f"{time.perf_counter() - started:.1f}", remark(report),
    )


def remark(report: StepReport) -> str:
    """How many layers a technique changed and left alone, with its most frequent reason."""
    reasons = Counter(report.skipped.values()).most_common(1)
    counted = f"{len(report.changed)} changed, {len(report.skipped)} left alone"
    return f"{counted} ({reasons[0][1]}: {reasons[0][0][:60]})" if reasons else counted


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
