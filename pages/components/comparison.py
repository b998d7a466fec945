"""Tables behind the Compare page: runs, recipe differences, classes and layers. Results in, data frames out."""

import json
from collections.abc import Mapping, Sequence

import pandas as pd

from compression.experiments import ExperimentResult
from pages.components.formats import knob_value, recipe_label

MOST_PINS = 4


def run_table(results: Sequence[ExperimentResult]) -> pd.DataFrame:
    """One row per stored result, its key as index."""
    rows = [
        {
            "model": str(r.recipe["model"]), "recipe": recipe_label(r.recipe),
            "accuracy %": 100 * r.figures.accuracy, "change": 100 * (r.figures.accuracy - r.baseline.accuracy),
            "packed kB": r.figures.size_bytes / 1000, "ONNX kB": r.figures.runtime_size_bytes / 1000,
            "latency ms": r.figures.latency_ms_p50, "speed-up": r.figures.speedup, "samples": r.figures.n_samples,
            "stage": r.stage, "measured": r.created[:16].replace("T", " "), "key": r.key,
        }
        for r in results
    ]
    return pd.DataFrame(rows).set_index("key") if rows else pd.DataFrame()


def newest(results: Sequence[ExperimentResult]) -> list[ExperimentResult]:
    """Of results of one recipe, left by different versions of code or data, the last one."""
    by_recipe = {json.dumps(r.recipe, sort_keys=True): r for r in sorted(results, key=lambda r: r.created)}
    return sorted(by_recipe.values(), key=lambda r: r.created)


def techniques_of(result: ExperimentResult) -> set[str]:
    """Keys of the techniques in a result's recipe."""
    return {str(step["technique"]) for step in result.recipe["steps"]}


def short_names(results: Sequence[ExperimentResult]) -> list[str]:
    """A letter and the recipe for each, so that tables have short headings."""
    return [f"{chr(65 + i)}: {recipe_label(r.recipe)}" for i, r in enumerate(results)]


def recipe_difference(results: Sequence[ExperimentResult]) -> pd.DataFrame:
    """Knobs in which the recipes differ, one column per result; "-" where a step is missing."""
    flat = [_flat(r) for r in results]
    names = list(dict.fromkeys(name for own in flat for name in own))
    different = [n for n in names if len({own.get(n, "-") for own in flat}) > 1]
    columns = [chr(65 + i) for i in range(len(results))]
    return pd.DataFrame([[own.get(n, "-") for own in flat] for n in different], index=different, columns=columns)


def _flat(result: ExperimentResult) -> dict[str, str]:
    flat = {name: str(result.recipe.get(name)) for name in ("model", "dataset", "seed")}
    for step in result.recipe["steps"]:
        flat |= {f"{step['technique']}.{k}": knob_value(v) for k, v in step.items() if k != "technique"}
    return flat


def layer_sizes(results: Sequence[ExperimentResult]) -> pd.DataFrame:
    """Bytes per layer, one column per result; missing layers are zero."""
    columns = {
        chr(65 + i): {layer.fqn: layer.packed_bytes for layer in r.layers} for i, r in enumerate(results)
    }
    order = list(dict.fromkeys(layer.fqn for r in results for layer in r.layers))
    return pd.DataFrame(columns).reindex(order).fillna(0).astype(int)


def class_table(behaviours: Mapping[str, Mapping[str, tuple[float, int]]]) -> pd.DataFrame:
    """Accuracy per class in percent, one column per result, and its sample count; the most changed come first."""
    first = next(iter(behaviours.values()))
    table = pd.DataFrame({name: {c: 100 * a for c, (a, _) in own.items()} for name, own in behaviours.items()})
    spread = table.max(axis=1) - table.min(axis=1)
    table["samples"] = pd.Series({c: n for c, (_, n) in first.items()})
    return table.loc[spread.sort_values(ascending=False, kind="stable").index]
