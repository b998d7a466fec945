"""Real photographs: SqueezeNet 1.1 with its real weights compressed, and how long an evaluation takes.

    python -m tests.benchmarks.photographs [--write]

The 800 scored photographs of `imagenet_sample` (chosen to be easy, so figures run above ImageNet's), without any
training. ResNet-18 has random weights: the time of an evaluation does not depend on them. Needs the data below
COMPRESSION_DATA.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from compression.artifact.graph import compile_graph
from compression.core.errors import InputError
from compression.experiments.stages import run_experiment
from compression.experiments.store import ResultStore
from compression.experiments.tasks import Task, load_task
from compression.metrics.accuracy import evaluate_onnx
from compression.recipe import Recipe, recipe_from_dict
from compression.reports.text import text_table
from models import registry

RESULTS = Path(__file__).parent / "results" / "photographs.txt"
MODEL, DATASET = "squeezenet1_1", "imagenet_sample"
CASES: tuple[tuple[str, list[dict[str, Any]]], ...] = (
    ("uncompressed", []),
    ("W8A8", [{"technique": "quantization", "weight_bits": 8, "activation_bits": 8}]),
    ("W4", [{"technique": "quantization", "weight_bits": 4}]),
    ("50 % of weights zero", [{"technique": "weight_pruning", "sparsity": 0.5}]),
    ("channels 0.2", [{"technique": "channel_pruning", "pruning_ratio": 0.2}]),
    ("low rank 0.75", [{"technique": "low_rank", "rank_ratio": 0.75}]),
    ("codebook of 16", [{"technique": "weight_sharing", "n_clusters": 16}]),
)
_MOST_SECONDS, _THREADS = 30.0, 2


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write the table to {RESULTS.name}")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            text = _compressed(ResultStore(Path(folder))) + "\n" + _evaluation(Path(folder)) + "\n"
    except InputError as error:
        sys.stdout.write(f"SKIPPED: {error}\n")
        return 0
    sys.stdout.write(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")
    return 0


def _compressed(store: ResultStore) -> str:
    rows = []
    for title, steps in CASES:
        figures = run_experiment(recipe_from_dict({"model": MODEL, "dataset": DATASET, "steps": steps}), store).figures
        low, high = 100 * figures.accuracy_low, 100 * figures.accuracy_high
        speedup = "" if figures.speedup is None else f"{figures.speedup:.2f}"
        rows.append((
            title, f"{100 * figures.accuracy:.1f} ({low:.1f} to {high:.1f})", f"{figures.size_bytes / 1000:.0f}",
            f"{figures.latency_ms_p50:.1f}", speedup,
        ))
        sys.stderr.write(f"{title}: done\n")
    return text_table((f"{MODEL}, {figures.n_samples} photographs", "top-1 %", "packed kB", "ms", "speed-up"), rows)


def _evaluation(folder: Path) -> str:
    """Seconds for 1,000 photographs of 224 x 224, the images decoded before, as the second evaluation finds them."""
    task = load_task(Recipe(MODEL, DATASET))
    model = registry.build_model("resnet18").eval().requires_grad_(False)
    path = folder / "resnet18.onnx"
    compile_graph(model, task.example_input(), path, cache_dir=folder)
    start = time.perf_counter()
    count = sum(_scored(path, task, part) for part in (task.dataset.train, task.dataset.test))
    seconds = time.perf_counter() - start
    verdict = "met" if seconds < _MOST_SECONDS else "MISSED"
    limit = f"at most {_MOST_SECONDS:.0f} s: {verdict}"
    return f"ResNet-18, {count} photographs, {_THREADS} threads: {seconds:.1f} s; {limit}"


def _scored(path: Path, task: Task, split: Any) -> int:
    found = evaluate_onnx(
        path, task.scoring_batches(split), split.targets.numpy(), task=task.info.task, threads=_THREADS
    )
    return found.n


if __name__ == "__main__":
    sys.exit(main())
