"""Seconds that one-shot techniques take: cold, with statistics and factors still to be computed, and warm.

    python -m tests.benchmarks.compression_speed [--only resnet20|resnet18]

The embedded ResNet-20 (32 x 32, 512 calibration images), and torchvision's ResNet-18 at 224 x 224 with random weights
and 128 random images: the time depends on neither. Packing, export and scoring are not counted.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compression.context import CompressionContext
from compression.experiments.artifacts import compress
from compression.experiments.tasks import load_task
from compression.recipe import Recipe, Step, recipe_from_dict
from models.torchvision_guard import declare_missing_operators

STEPS: tuple[dict[str, Any], ...] = (
    {"technique": "weight_pruning", "sparsity": 0.7},
    {"technique": "channel_pruning", "pruning_ratio": 0.3},
    {"technique": "low_rank", "rank_ratio": 0.5},
    {"technique": "weight_sharing", "n_clusters": 16},
    {"technique": "binarization", "levels": "ternary"},
    {"technique": "quantization", "weight_bits": 4},
    {"technique": "quantization", "weight_bits": 8, "activation_bits": 8},
)
ROW = "{:<10} {:<48} {:>7} {:>7}   {}"
_IMAGES, _CLASSES = 128, 1000


@dataclass(frozen=True)
class Subject:
    """A network with its limits in seconds."""

    name: str
    make: Callable[[], tuple[nn.Module, CompressionContext]]
    most_cold: float
    most_warm: float


def _resnet20() -> tuple[nn.Module, CompressionContext]:
    task = load_task(Recipe("digits_resnet", "digits"))
    model = task.load_model()
    return model, task.context(model, 0, Path(tempfile.mkdtemp()), _ignore, bool)


def _resnet18() -> tuple[nn.Module, CompressionContext]:
    declare_missing_operators()
    from torchvision.models import resnet18

    torch.manual_seed(0)
    model = resnet18(weights=None).eval()
    images, targets = torch.randn(_IMAGES, 3, 224, 224), torch.randint(_CLASSES, (_IMAGES,))
    context = CompressionContext(
        original=model, example_input=images[:1], calibration_inputs=images, calibration_targets=targets,
        training_batches=lambda epoch: iter([(images, targets)]), task="image_classification",
        model_key="resnet18", data_key="random", protected=("conv1", "fc"),
    )
    return model, context


SUBJECTS = (Subject("resnet20", _resnet20, 10.0, 1.0), Subject("resnet18", _resnet18, 60.0, 60.0))


def _ignore(fraction: float, message: str) -> None:
    del fraction, message


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only networks whose name contains this text")
    only = parser.parse_args().only
    _say(ROW.format("network", "technique", "cold s", "warm s", "target"))
    for subject in SUBJECTS:
        for number, step in enumerate(STEPS):
            if only in subject.name:
                _row(subject, step, number)
    return 0


def _row(subject: Subject, data: dict[str, Any], number: int) -> None:
    model, context = subject.make()
    context = replace(context, model_key=f"{context.model_key}-{number}")  # nothing is remembered from the row before
    steps = recipe_from_dict({"model": "m", "dataset": "d", "steps": [data]}).steps
    cold, warm = _seconds(model, steps, context), _seconds(model, steps, context)
    met = "met" if cold <= subject.most_cold and warm <= subject.most_warm else "MISSED"
    knobs = ", ".join(f"{k} {v}" for k, v in data.items() if k != "technique")
    target = f"at most {subject.most_cold:g} and {subject.most_warm:g}: {met}"
    _say(ROW.format(subject.name, f"{data['technique']}, {knobs}", f"{cold:.2f}", f"{warm:.2f}", target))


def _seconds(original: nn.Module, steps: tuple[Step, ...], context: CompressionContext) -> float:
    model = copy.deepcopy(original)
    start = time.perf_counter()
    compress(model, steps, context)
    return time.perf_counter() - start


def _say(line: str) -> None:
    sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
