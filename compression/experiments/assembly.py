"""Measured parts of an artifact and of its baseline put together to one result."""

from typing import Any

from compression.experiments.explanation import explain
from compression.experiments.results import Badge, ExperimentResult, Figures, LayerRecord, training_from_dict
from compression.experiments.store import now
from compression.metrics.energy import cost_per_million, estimate_energy
from compression.metrics.environment import environment_record
from compression.recipe import Recipe, recipe_to_dict

PRICE_PER_CORE_HOUR = 0.04
_LATENCY_FIELDS = ("latency_ms_p50", "latency_ms_p95", "latency_low", "latency_high", "speedup")


def assemble(key: str, recipe: Recipe, own: dict[str, Any], baseline: dict[str, Any]) -> ExperimentResult:
    """Build a result from the stored parts ("artifact", "accuracy", "latency", "memory") of both.

    Args:
        key: Key of the result.
        recipe: Its recipe.
        own: Parts of the artifact; "latency" and "memory" may be None.
        baseline: Parts of the uncompressed artifact.
    """
    artifact = own["artifact"]
    figures, energy_note = _figures(own, recipe)
    base_figures, _ = _figures({**baseline, "latency": _paired(own["latency"])}, recipe)
    layers = tuple(LayerRecord(**{**layer, "shape": tuple(layer["shape"])}) for layer in artifact["layers"])
    badges, badge_notes = _badges(layers, energy_note)
    complete = own["accuracy"]["complete"] and own["latency"] is not None and own["latency"]["tier"] == "full"
    return ExperimentResult(
        key=key,
        recipe=recipe_to_dict(recipe),
        figures=figures,
        baseline=base_figures,
        badges=badges,
        badge_notes=badge_notes,
        layers=layers,
        notes=tuple(artifact["notes"]),
        explanation=explain(
            recipe, figures, base_figures, layers, unchanged=artifact["unchanged"],
            other_bytes=artifact.get("other_bytes", {}),
        ),
        environment=environment_record(),
        stage="full" if complete else "quick",
        seconds=artifact["seconds"],
        trainings=tuple(training_from_dict(own) for own in artifact["trainings"]),
        created=now(),
    )


def _paired(latency: dict[str, Any] | None) -> dict[str, Any] | None:
    """The baseline's latency from the same interleaved blocks, so that both belong to one moment of the machine."""
    if latency is None:
        return None
    names = ("p50_ms", "p95_ms", "low_ms", "high_ms")
    return {**{n: latency[f"baseline_{n}"] for n in names}, "speedup": 1.0, "speedup_low": 1.0, "speedup_high": 1.0}


def _figures(parts: dict[str, Any], recipe: Recipe) -> tuple[Figures, str]:
    artifact, accuracy, latency = parts["artifact"], parts["accuracy"], parts["latency"]
    timing: dict[str, Any] = {}
    cost = None
    if latency is not None:
        timing = {
            "latency_ms_p50": latency["p50_ms"], "latency_ms_p95": latency["p95_ms"],
            "latency_low": latency["low_ms"], "latency_high": latency["high_ms"],
            "speedup": latency["speedup"], "speedup_low": latency["speedup_low"],
            "speedup_high": latency["speedup_high"],
        }
        per_sample = latency["p50_ms"] / recipe.runtime.batch_size
        cost = cost_per_million(per_sample * recipe.runtime.threads, PRICE_PER_CORE_HOUR)
    energy = estimate_energy(
        macs_by_kernel=_macs_by_kernel(artifact), bytes_moved=artifact["runtime_size_bytes"]
    )
    memory = parts["memory"] or {}
    figures = Figures(
        accuracy=accuracy["accuracy"], accuracy_low=accuracy["low"], accuracy_high=accuracy["high"],
        n_samples=accuracy["n_samples"], quality=accuracy["quality"], **accuracy["extras"],
        size_bytes=artifact["size_bytes"], runtime_size_bytes=artifact["runtime_size_bytes"],
        macs=artifact["macs"], parameters=artifact["parameters"],
        nonzero_parameters=artifact["nonzero_parameters"],
        peak_memory_bytes=memory.get("peak_memory_bytes"), energy_measured_mj=memory.get("energy_measured_mj"),
        energy_mj=energy.energy_mj, cost_per_million=cost, **timing,
    )
    return figures, energy.note


def _macs_by_kernel(artifact: dict[str, Any]) -> dict[str, int]:
    macs: dict[str, int] = {}
    for layer in artifact["layers"]:
        macs[layer["kernel"]] = macs.get(layer["kernel"], 0) + layer["macs"]
    rest = artifact["macs"] - sum(macs.values())
    if rest > 0:
        macs["float32"] = macs.get("float32", 0) + rest
    return macs


def _badges(layers: tuple[LayerRecord, ...], energy_note: str) -> tuple[dict[str, Badge], dict[str, str]]:
    badges: dict[str, Badge] = dict.fromkeys(
        ("accuracy", "mean_absolute_error", "size_bytes", "runtime_size_bytes", "macs", "parameters",
         "nonzero_parameters", "peak_memory_bytes", "energy_measured_mj", *_LATENCY_FIELDS), "measured",
    )
    badges["energy_mj"] = badges["cost_per_million"] = "estimated"
    notes = {
        "energy_mj": energy_note,
        "cost_per_million": f"Latency times {PRICE_PER_CORE_HOUR} per core-hour.",
    }
    low_bit = [layer for layer in layers if layer.encoding != "float32" and layer.kernel == "float32"]
    if low_bit:
        why = (
            f"The stored weights of {len(low_bit)} of {len(layers)} layers are expanded to float32 when the model is "
            "loaded; their share of the latency is float32's."
        )
        for name in _LATENCY_FIELDS:
            badges[name] = "simulated"
            notes[name] = why
    return badges, notes
