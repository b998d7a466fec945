"""Measured parts of an artifact and of its baseline put together to one result."""

from dataclasses import dataclass, replace
from typing import Any

from compression.experiments.clock import LATENCIES, PRICE_PER_CORE_HOUR, Clock
from compression.experiments.explanation import explain
from compression.experiments.pairing import AccuracyChange
from compression.experiments.results import Badge, ExperimentResult, Figures, LayerRecord, training_from_dict
from compression.experiments.store import now
from compression.experiments.wording import samples_text
from compression.metrics.energy import estimate_energy
from compression.metrics.environment import environment_record
from compression.recipe import Recipe, recipe_to_dict


@dataclass(frozen=True)
class Parts:
    """What is stored of one artifact.

    Attributes:
        artifact: See `compression.experiments.artifacts.ArtifactRecord`.
        accuracy: What the scored samples gave.
        task: Of the model.
        memory: Peak memory and counted energy; empty while not measured.
        clock: Names the timings that its latency is read from.
        structure: Which of them is its own.
        timing: Its stored timing; None while there is none.
    """

    artifact: dict[str, Any]
    accuracy: dict[str, Any]
    task: str
    memory: dict[str, Any]
    clock: str
    structure: str
    timing: dict[str, Any] | None


def assemble(
    key: str, recipe: Recipe, own: Parts, baseline: Parts, clock: Clock, change: AccuracyChange | None
) -> ExperimentResult:
    """Build a result from the stored parts of both artifacts.

    Args:
        key: Key of the result.
        recipe: Its recipe.
        own: Parts of the artifact.
        baseline: Parts of the uncompressed artifact.
        clock: Their timings.
        change: Of the accuracy against the baseline's.
    """
    artifact = own.artifact
    figures, energy_note = _figures(own)
    base_figures, _ = _figures(baseline)
    coarse = baseline.accuracy["coarse"]
    if not own.accuracy["complete"] and coarse is not None:
        base_figures = replace(
            base_figures, accuracy=coarse["accuracy"], accuracy_low=coarse["low"], accuracy_high=coarse["high"],
            n_samples=coarse["n_samples"], **coarse["extras"],
        )
    layers = tuple(LayerRecord(**{**layer, "shape": tuple(layer["shape"])}) for layer in artifact["layers"])
    badges, badge_notes = _badges(layers, energy_note)
    _mark_preliminary(own, badges, badge_notes)
    settled = own.accuracy["complete"] and own.timing is not None and own.timing["tier"] == "full"
    result = clock.resolve(ExperimentResult(
        key=key,
        recipe=recipe_to_dict(recipe),
        figures=figures,
        baseline=base_figures,
        badges=badges,
        badge_notes=badge_notes,
        layers=layers,
        notes=tuple(artifact["notes"]),
        environment=environment_record(),
        stage="full" if settled else "quick",
        seconds=artifact["seconds"],
        trainings=tuple(training_from_dict(own) for own in artifact["trainings"]),
        created=now(),
        change=change,
        task=own.task,
        samples=_samples(own),
        clock=own.clock,
        structure=own.structure,
    ))
    sentences = explain(
        recipe, result.figures, result.baseline, layers, unchanged=artifact["unchanged"],
        other_bytes=artifact.get("other_bytes", {}),
    )
    return replace(result, explanation=sentences)


def _figures(parts: Parts) -> tuple[Figures, str]:
    """Figures without latency, which is the clock's to tell."""
    artifact, accuracy, memory = parts.artifact, parts.accuracy, parts.memory
    energy = estimate_energy(
        macs_by_kernel=_macs_by_kernel(artifact), bytes_moved=artifact["runtime_size_bytes"]
    )
    figures = Figures(
        accuracy=accuracy["accuracy"], accuracy_low=accuracy["low"], accuracy_high=accuracy["high"],
        n_samples=accuracy["n_samples"], quality=accuracy["quality"], **accuracy["extras"],
        size_bytes=artifact["size_bytes"], runtime_size_bytes=artifact["runtime_size_bytes"],
        macs=artifact["macs"], parameters=artifact["parameters"],
        nonzero_parameters=artifact["nonzero_parameters"],
        peak_memory_bytes=memory.get("peak_memory_bytes"), energy_measured_mj=memory.get("energy_measured_mj"),
        energy_mj=energy.energy_mj,
    )
    return figures, energy.note


def _samples(own: Parts) -> str:
    rows, n = own.accuracy["rows"], own.accuracy["n_samples"]
    return samples_text(own.task, rows, n // max(rows, 1))


def _mark_preliminary(own: Parts, badges: dict[str, Badge], notes: dict[str, str]) -> None:
    """Say of coarse figures that they are, and how coarse; a simulated latency stays simulated."""
    accuracy = own.accuracy
    if not accuracy["complete"]:
        for name in ("accuracy", "bits_per_character", "mean_absolute_error"):
            badges[name] = "preliminary"
            notes[name] = f"From {_samples(own)} so far, of {accuracy['of_rows']:,}."
    if own.timing is not None and own.timing["tier"] == "quick":
        for name in LATENCIES:
            if badges[name] == "measured":
                badges[name] = "preliminary"
                notes[name] = f"From a short timing of {own.timing['samples']:,} runs so far."


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
        ("accuracy", "mean_absolute_error", "bits_per_character", "size_bytes", "runtime_size_bytes", "macs",
         "parameters", "nonzero_parameters", "peak_memory_bytes", "energy_measured_mj", *LATENCIES), "measured",
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
        for name in LATENCIES:
            badges[name] = "simulated"
            notes[name] = why
    return badges, notes
