"""How often shown promises hold: over many random halves of the test split, against the other half.

For each model some recipes are measured on the whole test split. For each seed a random half makes a promise for
several limits, as a search does on its fixed half; a shown promise holds where the drop on the other half is at most
the limit.
The floor is 95 % of those shown.

``python -m tests.benchmarks.promises [--models a,b] [--seeds 20] [--store DIR]``
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from compression.analysis.promise import by_sample, promise_from_samples
from compression.experiments.tasks import dataset_of
from compression.service import Recipe, ResultStore, recipe_from_dict, run_experiment

FLOOR = 0.95
MODELS = ("digits_resnet", "digits_mobilenet", "fashion_resnet20", "python_gpt")
LIMITS = (0.5, 1.0, 2.0, 4.0)
STEPS = (
    {"technique": "quantization", "weight_bits": 8, "activation_bits": 8},
    {"technique": "quantization", "weight_bits": 4, "activation_bits": 8},
    {"technique": "quantization", "weight_bits": 3, "activation_bits": 8},
    {"technique": "weight_pruning", "sparsity": 0.7},
)


def right_predictions(recipe: Recipe, store: ResultStore) -> np.ndarray:
    """Which predictions of a recipe's artifact are right on the whole test split, (samples, predictions of one)."""
    result = run_experiment(recipe, store)
    whole = store.scores([result.key])[result.key].whole
    assert whole is not None
    return by_sample(whole)


def held(model: str, seeds: int, store: ResultStore) -> tuple[int, int]:
    """Shown promises of a model, and how many of them hold on the other half."""
    base = {"model": model, "dataset": dataset_of(model)}
    before = right_predictions(recipe_from_dict({**base, "steps": []}), store)
    shown = kept = 0
    for step in STEPS:
        after = right_predictions(recipe_from_dict({**base, "steps": [step]}), store)
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(before))
            half, rest = order[: len(order) // 2], order[len(order) // 2 :]
            drop = 100 * float(before[rest].mean() - after[rest].mean())
            for limit in LIMITS:
                if promise_from_samples(before[half], after[half], limit, len(before)).kept:
                    shown += 1
                    kept += drop <= limit
    return shown, kept


def main() -> int:
    """Exit code 1 where fewer shown promises hold than the floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--store", type=Path, help="folder of results to use again (default: a new one)")
    options = parser.parse_args()
    total = [0, 0]
    with TemporaryDirectory() as scratch:
        store = ResultStore(options.store or Path(scratch))
        for model in options.models.split(","):
            shown, kept = held(model, options.seeds, store)
            total = [total[0] + shown, total[1] + kept]
            print(f"{model}: {shown} promises shown, {kept} hold on the other half", flush=True)
    share = total[1] / max(total[0], 1)
    print(f"all: {100 * share:.1f} % of {total[0]} hold (floor {100 * FLOOR:.0f} %)")
    return int(share < FLOOR)


if __name__ == "__main__":
    raise SystemExit(main())
