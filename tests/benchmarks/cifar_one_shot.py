"""One-shot compression of the reference CIFAR-10 ResNet-20: naive methods beside ours, all 10,000 test images.

    python -m tests.benchmarks.cifar_one_shot [--only TEXT] [--write]

No training; calibration from training images only. Ours is the exported artifact executed by ONNX Runtime; naive is
the textbook method applied to the weights and nothing else, executed by torch. Needs CIFAR-10 and the reference
weights below COMPRESSION_DATA.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compression.calibration.hessian import original_hessians
from compression.experiments import stages
from compression.experiments.store import ResultStore
from compression.experiments.tasks import Task, load_task
from compression.grids import codebook_indices, decode_codebook, dequantize, quantize_to_grid
from compression.layers import weight_layers
from compression.recipe import Recipe, recipe_from_dict
from compression.solvers.grids import choose_grid
from compression.solvers.kmeans import weighted_kmeans
from compression.state import Codebook
from models.registry import has_weights

MODEL, DATASET = "cifar_resnet20", "cifar10"
RESULTS = Path(__file__).parent / "results" / "cifar_one_shot.txt"
Naive = Callable[[nn.Module], None]
Knobs = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One row: a recipe, the naive method beside it, and the floor in percent or points lost.

    Attributes:
        fewer_macs: Factor by which the multiply-accumulates must have fallen for the floor to count.
        share_of_naive_loss: Most of the naive method's loss that may be left.
    """

    title: str
    steps: tuple[Knobs, ...]
    naive: Naive | None = None
    most_lost: float | None = None
    at_least: float | None = None
    fewer_macs: float = 1.0
    share_of_naive_loss: float | None = None

    def verdict(self, baseline: float, accuracy: float, naive: float | None, macs: float) -> str:
        """The target and whether it was met."""
        if self.share_of_naive_loss is not None and naive is not None:
            most = self.share_of_naive_loss * (baseline - naive)
            return f"at most {self.share_of_naive_loss:g} of naive loss: {_met(baseline - accuracy <= most)}"
        if macs < self.fewer_macs:
            return f"{self.fewer_macs:g}x fewer MACs: MISSED"
        if self.most_lost is not None:
            return f"at most {self.most_lost:g} lost: {_met(baseline - accuracy <= self.most_lost + 1e-9)}"
        if self.at_least is not None:
            return f"at least {self.at_least:g}: {_met(accuracy >= self.at_least)}"
        return ""


def _met(yes: bool) -> str:
    return "met" if yes else "MISSED"


def _each(change: Callable[[torch.Tensor], torch.Tensor]) -> Naive:
    def apply(model: nn.Module) -> None:
        for _, layer in weight_layers(model):
            layer.weight.data = change(layer.weight.data)

    return apply


def _nearest(bits: int) -> Naive:
    def change(weight: torch.Tensor) -> torch.Tensor:
        grid = choose_grid(weight, bits, method="minmax")
        return dequantize(quantize_to_grid(weight, grid), grid)

    return _each(change)


def _kmeans(count: int) -> Naive:
    def change(weight: torch.Tensor) -> torch.Tensor:
        codebook = Codebook(weighted_kmeans(weight.flatten(), torch.ones(weight.numel()), count, False).float())
        return decode_codebook(codebook_indices(weight, codebook), codebook)

    return _each(change)


def _twn(weight: torch.Tensor) -> torch.Tensor:
    size = weight.abs()
    kept = size > 0.7 * size.mean((1, 2, 3), keepdim=True) if weight.ndim == 4 else size > 0.7 * size.mean(1, True)
    axes = tuple(range(1, weight.ndim))
    scale = (size * kept).sum(axes, keepdim=True) / kept.sum(axes, keepdim=True).clamp(min=1)
    return kept * weight.sign() * scale


def _bwn(weight: torch.Tensor) -> torch.Tensor:
    return weight.sign() * weight.abs().mean(tuple(range(1, weight.ndim)), keepdim=True)


def _magnitude(sparsity: float) -> Naive:
    def apply(model: nn.Module) -> None:
        layers = [layer for _, layer in weight_layers(model)]
        sizes = torch.cat([layer.weight.data.abs().flatten() for layer in layers])
        threshold = sizes.kthvalue(round(sparsity * len(sizes))).values
        for layer in layers:
            layer.weight.data *= layer.weight.data.abs() > threshold

    return apply


def _two_of_four(weight: torch.Tensor) -> torch.Tensor:
    rows = weight.flatten(1)
    if rows.shape[1] % 4:
        return weight
    blocks = rows.unflatten(1, (-1, 4))
    mask = torch.zeros_like(blocks).scatter(-1, blocks.abs().topk(2, dim=-1).indices, 1.0)
    return (blocks * mask).flatten(1).reshape(weight.shape)


def _svd(kept: float) -> Naive:
    def change(weight: torch.Tensor) -> torch.Tensor:
        matrix = weight.flatten(1)
        rank = int(kept * matrix.numel() / sum(matrix.shape))
        if rank >= min(matrix.shape) or rank == 0:
            return weight
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        return ((u[:, :rank] * s[:rank]) @ v[:rank]).reshape(weight.shape)

    return _each(change)


def _one(technique: str, **knobs: Any) -> tuple[Knobs, ...]:
    return ({"technique": technique, **knobs},)


def _channels(ratio: float) -> tuple[Knobs, ...]:
    return _one("channel_pruning", pruning_ratio=ratio, round_to=1)


CASES = (
    Case("W8A8", _one("quantization", weight_bits=8, activation_bits=8), most_lost=0.05),
    Case("W4", _one("quantization", weight_bits=4), _nearest(4), most_lost=0.15),
    Case("W3", _one("quantization", weight_bits=3), _nearest(3), most_lost=0.7),
    Case("W2", _one("quantization", weight_bits=2), _nearest(2), at_least=82.0),
    Case("W4A8", _one("quantization", weight_bits=4, activation_bits=8)),
    Case("ternary", _one("binarization", levels="ternary"), _each(_twn), at_least=72.0),
    Case("binary", _one("binarization", levels="binary"), _each(_bwn)),
    Case("50 % of weights zero", _one("weight_pruning", sparsity=0.5), _magnitude(0.5), most_lost=0.3),
    Case("70 % of weights zero", _one("weight_pruning", sparsity=0.7), _magnitude(0.7), most_lost=3.0),
    Case("80 % of weights zero", _one("weight_pruning", sparsity=0.8), _magnitude(0.8), at_least=78.0),
    Case("90 % of weights zero", _one("weight_pruning", sparsity=0.9), _magnitude(0.9)),
    Case("2:4 pattern", _one("weight_pruning", pattern="2:4"), _each(_two_of_four), most_lost=1.0),
    Case("channels, 1.2x fewer MACs", _channels(0.18), most_lost=2.0, fewer_macs=1.2),
    Case("channels, 1.45x fewer MACs", _channels(0.33), most_lost=6.0, fewer_macs=1.45),
    Case("low rank, 75 % of weights", _one("low_rank", rank_ratio=0.75), _svd(0.75), most_lost=2.0),
    Case("low rank, 50 % of weights", _one("low_rank", rank_ratio=0.5), _svd(0.5), share_of_naive_loss=0.5),
    Case("codebook of 16", _one("weight_sharing", n_clusters=16), _kmeans(16), most_lost=0.15),
    Case("codebook of 8", _one("weight_sharing", n_clusters=8), _kmeans(8), most_lost=0.6),
    Case("codebook of 4", _one("weight_sharing", n_clusters=4), _kmeans(4), most_lost=4.0),
    Case(
        "channels 0.1 + 50 % zero + W4A8",
        (
            *_channels(0.1), *_one("weight_pruning", sparsity=0.5),
            *_one("quantization", weight_bits=4, activation_bits=8),
        ),
    ),
)
ROW = "{:<33} {:>7} {:>7} {:>6} {:>9} {:>6} {:>7}   {}"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only cases whose title contains this text")
    parser.add_argument("--write", action="store_true", help=f"write the table to {RESULTS.name}")
    options = parser.parse_args()
    if not has_weights(MODEL):
        sys.stdout.write(f"SKIPPED: the weights of {MODEL} are not below COMPRESSION_DATA\n")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        lines = _table([case for case in CASES if options.only in case.title], ResultStore(Path(folder)))
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _table(cases: list[Case], store: ResultStore) -> list[str]:
    torch.set_num_threads(1)
    baseline = Recipe(MODEL, DATASET)
    task = load_task(baseline)
    base, _ = _measure(baseline, store)
    base_part = store.get_part(stages.key_of(baseline), "artifact") or {}
    lines: list[str] = []
    _add(lines, f"{task.info.title}, {len(task.dataset.test):,} test images, fp32 {base:.2f} %, one-shot")
    start = time.perf_counter()
    original_hessians(task.context(task.load_model(), 0, store.cache_dir(), lambda *_: None, bool))
    _add(lines, f"Hessians of all layers, once: {time.perf_counter() - start:.1f} s")
    _add(lines, ROW.format("case", "naive %", "ours %", "lost", "packed kB", "MACs", "seconds", "target"))
    for case in cases:
        naive = None if case.naive is None else _naive_accuracy(task, case.naive)
        recipe = recipe_from_dict({"model": MODEL, "dataset": DATASET, "steps": list(case.steps)})
        accuracy, part = _measure(recipe, store)
        macs = base_part["macs"] / part["macs"]
        _add(lines, ROW.format(
            case.title, "" if naive is None else f"{naive:.2f}", f"{accuracy:.2f}", f"{base - accuracy:.2f}",
            f"{part['size_bytes'] / 1000:.1f}", f"{macs:.2f}x", f"{part['seconds']['compress']:.2f}",
            case.verdict(base, accuracy, naive, macs),
        ))
    return lines


def _add(lines: list[str], line: str) -> None:
    lines.append(line.rstrip())
    sys.stdout.write(lines[-1] + "\n")
    sys.stdout.flush()


def _measure(recipe: Recipe, store: ResultStore) -> tuple[float, dict[str, Any]]:
    """Accuracy in percent of the artifact on the whole test split, and what is known of the artifact."""
    key = stages.build(recipe, store)
    stages.score(recipe, store, "full")
    return 100 * (store.get_part(key, "accuracy") or {})["accuracy"], store.get_part(key, "artifact") or {}


@torch.inference_mode()
def _naive_accuracy(task: Task, change: Naive) -> float:
    model, test = task.load_model(), task.dataset.test
    change(model)
    right = sum(
        int((model(task.prepare(test.inputs[i : i + 250])).argmax(1) == test.targets[i : i + 250]).sum())
        for i in range(0, len(test), 250)
    )
    return 100 * right / len(test)


if __name__ == "__main__":
    sys.exit(main())
