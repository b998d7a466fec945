"""Predicted against measured sensitivities of bundled models, and how long the prediction takes.

For each model the sensitivities of all layers are predicted at every strength of the techniques; a fixed random sample
of the cells is measured, and Spearman's rank correlation of the divergences is printed. The floor is 0.9.

``python -m tests.benchmarks.fisher_sensitivity [--models a,b] [--techniques x,y] [--cells 40]``
"""

import argparse
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from scipy.stats import spearmanr

from compression.analysis.prediction import Predictor
from compression.analysis.sensitivity import strengths
from compression.experiments.tasks import dataset_of, load_task
from compression.recipe import Recipe
from compression.techniques import get_technique

FLOOR = 0.9
MODELS = ("fashion_resnet20", "digits_resnet", "digits_mobilenet")
TECHNIQUES = ("quantization", "weight_sharing", "low_rank")


def compare(model: str, techniques: list[str], cells: int, cache: Path) -> float:
    """Print one model's row; returns its rank correlation over all techniques."""
    begun, cpu = time.perf_counter(), time.process_time()
    own = Predictor(load_task(Recipe(model, dataset_of(model))), cache)
    predicted = {
        (key, value, fqn): probed
        for key in techniques for value in strengths(get_technique(key))
        for fqn, probed in own.predict(get_technique(key), value, bool)
    }
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    chosen = random.Random(0).sample(sorted(predicted, key=str), min(cells, len(predicted)))
    begun = time.perf_counter()
    measured = {}
    for key, value, fqn in chosen:
        technique = get_technique(key)
        measured[key, value, fqn] = own.probe(fqn, technique, technique.main_knob, value, bool)
    per_cell = (time.perf_counter() - begun) / len(chosen)
    rho = _rho([predicted[cell].error for cell in chosen], [measured[cell].error for cell in chosen])
    parts = []
    for key in techniques:
        of_key = [cell for cell in chosen if cell[0] == key]
        if len(of_key) > 2:
            pairs = [[side[cell].error for cell in of_key] for side in (predicted, measured)]
            parts.append(f"{key} {_rho(*pairs):.3f} (n = {len(of_key)})")
    print(
        f"{model}: {len(predicted)} cells predicted in {seconds:.1f} s ({used:.1f} s of CPU), "
        f"{per_cell:.2f} s per measured cell; rank correlation {rho:.3f} (n = {len(chosen)}): {', '.join(parts)}",
        flush=True,
    )
    return rho


def _rho(predicted: list[float], measured: list[float]) -> float:
    return float(spearmanr(predicted, measured).statistic)


def main() -> int:
    """Exit code 1 where a model is below the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--techniques", default=",".join(TECHNIQUES))
    parser.add_argument("--cells", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    techniques = options.techniques.split(",")
    with TemporaryDirectory() as cache:
        found = [compare(model, techniques, options.cells, Path(cache)) for model in options.models.split(",")]
    return int(min(found) < FLOOR)


if __name__ == "__main__":
    raise SystemExit(main())
