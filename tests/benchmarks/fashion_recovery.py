"""What at most three epochs of recovery bring back on Fashion-MNIST's ResNet-20, all 10,000 test images.

    python -m tests.benchmarks.fashion_recovery [--only TEXT] [--write]

Every figure is that of the exported artifact executed by ONNX Runtime. Takes most of an hour on two cores. Needs
Fashion-MNIST below COMPRESSION_DATA.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from compression.core.errors import InputError
from compression.experiments import stages
from compression.experiments.store import ResultStore
from compression.recipe import Recipe, recipe_from_dict

MODEL, DATASET = "fashion_resnet20", "fashion_mnist"
RESULTS = Path(__file__).parent / "results" / "fashion_recovery.txt"
RECOVERY = {"technique": "recovery", "epochs": 3}
SEEDS = (0, 1, 2)
STUDENTS = ("half_width", "half_depth")
ROW = "{:<34} {:>9} {:>7} {:>6} {:>9} {:>6} {:>8}   {}"


@dataclass(frozen=True)
class Case:
    """One compression, without and with recovery, and the most it may lose."""

    title: str
    step: dict[str, Any]
    most_lost: float
    fewer_macs: float = 1.0


_CHANNELS = {"technique": "channel_pruning", "target": "macs", "round_to": 1}
CASES = (
    Case("channels, 2x fewer MACs", {**_CHANNELS, "pruning_ratio": 0.505}, 0.5, 2.0),
    Case("ternary", {"technique": "binarization", "levels": "ternary"}, 1.5),
    Case("W2", {"technique": "quantization", "weight_bits": 2}, 1.5),
)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only cases whose title contains this text")
    parser.add_argument("--write", action="store_true", help=f"write the table to {RESULTS.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        store = ResultStore(Path(folder))
        try:
            base, base_part, _ = _measure(store)
        except InputError as error:
            sys.stdout.write(f"SKIPPED: {error}\n")
            return 0
        _add(lines, f"ResNet-20 on Fashion-MNIST, 10,000 test images, fp32 {base:.2f} %, recovery of 3 epochs")
        _add(lines, ROW.format("case", "one-shot", "after", "lost", "packed kB", "MACs", "seconds", "target"))
        for case in CASES:
            if options.only in case.title:
                _recover(case, store, base, base_part, lines)
        for student in STUDENTS:
            if options.only in f"student {student}":
                _students(student, store, base, lines)
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _recover(case: Case, store: ResultStore, base: float, base_part: dict[str, Any], lines: list[str]) -> None:
    before, _, _ = _measure(store, case.step)
    after, part, seconds = _measure(store, case.step, RECOVERY)
    macs = base_part["macs"] / part["macs"]
    met = base - after <= case.most_lost and macs >= case.fewer_macs
    _add(lines, ROW.format(
        case.title, f"{before:.2f}", f"{after:.2f}", f"{base - after:.2f}", f"{part['size_bytes'] / 1000:.1f}",
        f"{macs:.2f}x", f"{seconds:.0f}", f"at most {case.most_lost:g} lost: {'met' if met else 'MISSED'}",
    ))


def _students(student: str, store: ResultStore, base: float, lines: list[str]) -> None:
    """The same student with the same seeds, data and epochs, with a teacher and from the labels alone."""
    found: dict[float, list[float]] = {}
    for alpha in (0.9, 0.0):
        for seed in SEEDS:
            step = {"technique": "distillation", "student": student, "epochs": 3, "alpha": alpha}
            accuracy, part, seconds = _measure(store, step, seed=seed)
            found.setdefault(alpha, []).append(accuracy)
            title = f"student {student}, {'teacher' if alpha else 'alone'}, seed {seed}"
            _add(lines, ROW.format(
                title, "", f"{accuracy:.2f}", f"{base - accuracy:.2f}", f"{part['size_bytes'] / 1000:.1f}", "",
                f"{seconds:.0f}", "",
            ))
    taught, alone = (statistics.mean(found[alpha]) for alpha in (0.9, 0.0))
    better = "met" if taught > alone else "MISSED"
    means = f"{taught:.2f} with, {alone:.2f} without a teacher"
    _add(lines, f"students {student}, mean of {len(SEEDS)} seeds: {means}: {better}")


def _measure(store: ResultStore, *steps: dict[str, Any], seed: int = 0) -> tuple[float, dict[str, Any], float]:
    """Accuracy in percent on the whole test split, what is known of the artifact, and seconds to make it."""
    data = {"model": MODEL, "dataset": DATASET, "seed": seed, "steps": list(steps)}
    recipe = recipe_from_dict(data) if steps else Recipe(MODEL, DATASET)
    start = time.perf_counter()
    key = stages.build(recipe, store)
    seconds = time.perf_counter() - start
    stages.score(recipe, store, "full")
    return 100 * (store.get_part(key, "accuracy") or {})["accuracy"], store.get_part(key, "artifact") or {}, seconds


def _add(lines: list[str], line: str) -> None:
    lines.append(line.rstrip())
    sys.stdout.write(lines[-1] + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
