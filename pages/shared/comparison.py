"""Tables behind the Compare page: runs, recipe differences, classes and layers. Results in, data frames out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from compression.experiments.pairing import Scores, accuracy_change
from compression.service import ExperimentResult, Figures, default_of, get_technique, knobs_of
from pages.shared.formats import knob_value, recipe_label


def dataset_name(result: ExperimentResult) -> str:
    """Name of the dataset that a result was scored on."""
    return str(result.recipe["dataset"])


def differ_in_data(results: Sequence[ExperimentResult]) -> bool:
    """Whether some model among the results was scored on several datasets."""
    return len({(r.model_name, dataset_name(r)) for r in results}) > len({r.model_name for r in results})


def run_table(results: Sequence[ExperimentResult]) -> pd.DataFrame:
    """One row per stored result, its key as index; with the dataset where a model was scored on several."""
    told = differ_in_data(results)
    rows = [
        {
            "model": r.model_name, **({"dataset": dataset_name(r)} if told else {}), "recipe": recipe_label(r.recipe),
            **_quality(r),
            "packed kB": r.figures.size_bytes / 1000, "ONNX kB": r.figures.runtime_size_bytes / 1000,
            "latency ms": r.figures.latency_ms_p50, "speed-up": r.figures.speedup, "samples": r.figures.n_samples,
            "stage": r.stage, "measured": r.created[:16].replace("T", " "), "key": r.key,
        }
        for r in results
    ]
    return pd.DataFrame(rows).set_index("key") if rows else pd.DataFrame()


def _quality(result: ExperimentResult) -> dict[str, float | None]:
    """Accuracy and its change in percent, or R2 and its change with the mean absolute error.

    The change is that on the same samples; None where the baseline was scored on others.
    """
    own, base, kind = result.figures, result.baseline, result.figures.kind
    row: dict[str, float | None] = {
        kind.heading: kind.shown(own.accuracy),
        "change": kind.shown(own.accuracy - base.accuracy) if own.n_samples == base.n_samples else None,
    }
    return row if own.mean_absolute_error is None else {**row, "mean absolute error": own.mean_absolute_error}


def newest(results: Sequence[ExperimentResult]) -> list[ExperimentResult]:
    """Of results of one recipe, left by different versions of code or data, the last one."""
    by_recipe = {json.dumps(r.recipe, sort_keys=True): r for r in sorted(results, key=lambda r: r.created)}
    return sorted(by_recipe.values(), key=lambda r: r.created)


def baseline_of(results: Sequence[ExperimentResult], result: ExperimentResult) -> ExperimentResult | None:
    """The uncompressed model of a result, measured with the same settings, or None."""
    wanted = {**result.recipe, "steps": []}
    return next((own for own in reversed(results) if not own.recipe["steps"] and own.recipe == wanted), None)


def techniques_of(result: ExperimentResult) -> set[str]:
    """Keys of the techniques in a result's recipe."""
    return {str(step["technique"]) for step in result.recipe["steps"]}


def recipe_difference(results: Sequence[ExperimentResult]) -> pd.DataFrame:
    """Knobs in which the recipes differ, one column per result; "-" where a step is missing.

    Of a step that some have and others lack, its main knob is shown and what is not at its default.
    """
    flat = [_flat(r) for r in results]
    names = list(dict.fromkeys(name for own in flat for name in own))
    different = [n for n in names if _differs([own[n] for own in flat if n in own], n, len(flat))]
    columns = [chr(65 + i) for i in range(len(results))]
    return pd.DataFrame([[own.get(n, "-") for own in flat] for n in different], index=different, columns=columns)


def _differs(values: Sequence[str], name: str, columns: int) -> bool:
    if len(set(values)) > 1 or len(values) == columns:
        return len(set(values)) > 1
    technique, _, knob = name.partition(".")
    found = get_technique(technique)
    known = knob in knobs_of(found.config_type)
    return not known or knob == found.main_knob or values[0] != knob_value(default_of(found.config_type, knob))


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


def against(
    result: ExperimentResult, reference: ExperimentResult, scores: Mapping[str, Scores] | None = None
) -> ExperimentResult:
    """A result whose baseline is another one.

    Of two artifacts of one model the speed-up is that of their speed-ups over it, each measured in blocks interleaved
    with the uncompressed model; its interval holds both.

    Args:
        result: The result.
        reference: What it is compared with.
        scores: Which predictions of both were right, by key; their accuracies are then compared sample by sample.
    """
    known = scores or {}
    change = accuracy_change(known.get(reference.key), known.get(result.key))
    result, own, base = replace(result, change=change), result.figures, reference.figures
    if change is not None and own.n_samples != base.n_samples:
        own, base = (_scored(figures, known[key], change.n_samples) for figures, key in (
            (own, result.key), (base, reference.key)
        ))
    if own.latency_ms_p50 is None or base.latency_ms_p50 is None:
        return replace(result, baseline=base, figures=replace(own, speedup=None, speedup_low=None, speedup_high=None))
    (low, middle, high), (base_low, base_middle, base_high) = _latencies(own), _latencies(base)
    own = replace(own, speedup=base_middle / middle, speedup_low=base_low / high, speedup_high=base_high / low)
    return replace(result, baseline=base, figures=own)


def _scored(figures: Figures, scores: Scores, n: int) -> Figures:
    """Figures with the accuracy on the samples that both saw."""
    if figures.n_samples == n:
        return figures
    accuracy, low, high, count = scores.coarse.score()
    return replace(figures, accuracy=accuracy, accuracy_low=low, accuracy_high=high, n_samples=count)


def _latencies(figures: Figures) -> tuple[float, float, float]:
    middle = figures.latency_ms_p50
    assert middle is not None
    return figures.latency_low or middle, middle, figures.latency_high or middle


def layer_table(result: ExperimentResult) -> pd.DataFrame:
    """One row per weight layer: what executes it, how it is stored and why. Shares are in percent."""
    total = max(result.figures.size_bytes, 1)
    return pd.DataFrame(
        {
            "layer": [layer.fqn for layer in result.layers],
            "kind": [layer.kind for layer in result.layers],
            "shape": ["x".join(map(str, layer.shape)) for layer in result.layers],
            "kernel": [layer.kernel for layer in result.layers],
            "encoding": [layer.encoding for layer in result.layers],
            "bytes": [layer.packed_bytes for layer in result.layers],
            "share of file": [100 * layer.packed_bytes / total for layer in result.layers],
            "zeros": [100 * layer.sparsity for layer in result.layers],
            "MACs": [layer.macs for layer in result.layers],
            "reason": [layer.note for layer in result.layers],
        }
    )
