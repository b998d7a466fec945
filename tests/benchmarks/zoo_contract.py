"""The whole zoo at full size with random weights: ``python -m tests.benchmarks.zoo_contract [NAME ...]``.

For each of torchvision's networks, at 224x224 and without any download: how its structure is found, what half of its
free units saves, whether the graph of the pruned network needs an export of its own, and how many layers run on
integer kernels with 8-bit weights and activations. Takes some minutes; memory of about six times the largest network.
"""

import argparse
import copy
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from compression.artifact.graph import GraphReport, calibrate_activations, compile, compile_graph
from compression.context import CompressionContext, StepReport
from compression.layers import weight_layers
from compression.metrics.macs import count_macs
from compression.reports.text import text_table
from compression.structure import find_groups, remove_units
from compression.techniques import get_technique
from models import registry
from models.architectures.torchvision_zoo import ZOO

_SAMPLES = 4
_COLUMNS = (
    "network", "groups", "shared", "MACs left", "export s", "pruned: new exports", "int8 layers", "float layers",
)


@dataclass
class _Exports:
    """How often a graph had to be exported because the template did not fit."""

    count: int = 0


def main(names: list[str]) -> None:
    """Print one row per network."""
    exports = _counted()
    with tempfile.TemporaryDirectory() as folder:
        rows = [_row(name, Path(folder), exports) for name in names or ZOO]
    sys.stdout.write(text_table(_COLUMNS, rows) + "\n")


def _counted() -> _Exports:
    exports, export = _Exports(), compile.export_model

    def counting(lowered: nn.Module, example_input: Tensor) -> object:
        exports.count += 1
        return export(lowered, example_input)

    compile.export_model = counting  # type: ignore[assignment]
    return exports


def _row(name: str, folder: Path, exports: _Exports) -> tuple[str, ...]:
    model, context = _subject(name)
    example = context.example_input
    started = time.perf_counter()
    compile_graph(model, example, folder / "whole.onnx", cache_dir=folder)
    seconds = time.perf_counter() - started
    groups, _ = find_groups(model, example, context.model_key, context.protected[-1:])
    free, pruned = [group for group in groups if not group.coupled and group.units > 1], copy.deepcopy(model)
    for group in free:
        remove_units(pruned, group, torch.arange(0, group.units, 2))
    left = count_macs(pruned, example).total / count_macs(model, example).total
    exports.count = 0
    compile_graph(pruned, example, folder / "pruned.onnx", cache_dir=folder)
    report = _quantized(pruned, context, folder)
    on_integers = sum(kernel == "int8" for kernel in report.kernels.values())
    rest = ": ".join([str(len(report.kernels) - on_integers), *sorted(set(report.reasons.values()))])
    sys.stderr.write(f"{name} done\n")
    return (
        name, str(len(free)), str(len(groups) - len(free)), f"{left:.0%}", f"{seconds:.1f}", str(exports.count),
        f"{on_integers} of {len(report.kernels)}", rest,
    )


def _subject(name: str) -> tuple[nn.Module, CompressionContext]:
    """A network with random weights; its batch norms have seen the inputs."""
    torch.manual_seed(0)
    model, inputs = registry.build_model(name), torch.randn(_SAMPLES, 3, 224, 224)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.01)
        model.train()
        model(inputs)
    model.eval().requires_grad_(False)
    layers = [fqn for fqn, _ in weight_layers(model)]
    context = CompressionContext(
        original=model, example_input=inputs[:1], calibration_inputs=inputs,
        calibration_targets=torch.zeros(_SAMPLES, dtype=torch.int64), training_batches=lambda epoch: iter(()),
        task="image_classification", model_key=f"random {name}", data_key="random", protected=(layers[0], layers[-1]),
    )
    return model, context


def _quantized(model: nn.Module, context: CompressionContext, folder: Path) -> GraphReport:
    technique, own = get_technique("quantization"), replace(context, report=StepReport())
    small = technique.function(copy.deepcopy(model), technique.config_type(activation_bits=8), own)
    grids = calibrate_activations(small, context.example_input, context.calibration_inputs, folder)
    return compile_graph(
        small, context.example_input, folder / "int8.onnx", activation_grids=grids, cache_dir=folder
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks; all by default: " + ", ".join(ZOO))
    main(parser.parse_args().names)
