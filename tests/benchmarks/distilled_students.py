"""The same student from the same random weights on the same crops, with a teacher and from the labels alone.

    python -m tests.benchmarks.distilled_students [--model NAME] [--student NAME] [--epochs N] [--seeds N] [--write]

Every figure is that of the exported artifact executed by ONNX Runtime on the whole test split.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import torch

from compression.core.errors import InputError
from compression.experiments import stages
from compression.experiments.store import ResultStore
from compression.recipe import Recipe, recipe_from_dict
from models import registry

RESULTS = Path(__file__).parent / "results"
ALPHAS = {"teacher": 0.9, "no teacher": 0.0}


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="digits_resnet")
    parser.add_argument("--student", default="half_width")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"write the table below {RESULTS.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        try:
            lines = _compare(ResultStore(Path(folder)), options)
        except InputError as error:
            sys.stdout.write(f"SKIPPED: {error}\n")
            return 0
    if options.write:
        path = RESULTS / f"student_{options.model}_{options.student}.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


def _compare(store: ResultStore, options: argparse.Namespace) -> list[str]:
    lines: list[str] = []
    base, _ = _measure(store, options)
    _add(lines, f"{options.model} {base:.2f} %, student {options.student}, {options.epochs} epochs, accuracy by seed")
    means = {}
    for title, alpha in ALPHAS.items():
        measured = [_measure(store, options, alpha, seed) for seed in range(options.seeds)]
        means[title] = statistics.mean(accuracy for accuracy, _ in measured)
        listed = " ".join(f"{accuracy:.2f}" for accuracy, _ in measured)
        _add(lines, f"{title:<11} {listed}   mean {means[title]:.2f}   {measured[0][1] / 1000:.1f} kB packed")
    gained = means["teacher"] - means["no teacher"]
    _add(lines, f"the teacher brings {gained:+.2f} points on {options.seeds} seeds")
    return lines


def _measure(
    store: ResultStore, options: argparse.Namespace, alpha: float | None = None, seed: int = 0
) -> tuple[float, int]:
    """Accuracy in percent, and bytes of the packed file; without `alpha` those of the teacher."""
    dataset = registry.model_info(options.model).dataset
    recipe = Recipe(options.model, dataset)
    if alpha is not None:
        step = {"technique": "distillation", "student": options.student, "epochs": options.epochs, "alpha": alpha}
        recipe = recipe_from_dict({"model": options.model, "dataset": dataset, "seed": seed, "steps": [step]})
    key = stages.build(recipe, store)
    stages.score(recipe, store, "full")
    accuracy, artifact = store.get_part(key, "accuracy") or {}, store.get_part(key, "artifact") or {}
    return 100 * accuracy["accuracy"], artifact["size_bytes"]


def _add(lines: list[str], line: str) -> None:
    lines.append(line)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
