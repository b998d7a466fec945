"""The record of one measured artifact. All that a page shows comes from here; plain data, JSON round trip."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from compression.experiments.pairing import AccuracyChange
from compression.problems.quality import ACCURACY, R2, Quality, quality

Badge = Literal["measured", "simulated", "estimated", "preliminary", "disturbed"]


@dataclass(frozen=True)
class Figures:
    """The numbers of one artifact.

    Attributes:
        accuracy: The task's quality: top-1 or next-token accuracy, a fraction in [0, 1]; R2 of a regression.
        accuracy_low: Lower end of its 95 % interval (Wilson; of R2 by bootstrap).
        accuracy_high: Upper end.
        n_samples: Scored samples (tokens for language models).
        quality: Which quality `accuracy` holds, "accuracy" or "r2".
        bits_per_character: Cross-entropy in bits, language models only.
        mean_absolute_error: In the targets' unit, regression only.
        mean_absolute_error_low: Lower end of its 95 % t-interval.
        mean_absolute_error_high: Upper end.
        size_bytes: The packed weights file.
        runtime_size_bytes: The ONNX file.
        latency_ms_p50: Latency of one inference of the ONNX artifact on the clock of its baseline, see
            `compression.experiments.clock`, or None while not yet timed.
        latency_ms_p95: 95th percentile.
        latency_low: Lower end of its 95 % interval, ms: of an artifact that of the speed-up, of a baseline that of its
            pooled median.
        latency_high: Upper end.
        speedup: Baseline's latency over this artifact's, from interleaved blocks (1.0 for the baseline).
        speedup_low: Lower end of its 95 % bootstrap interval.
        speedup_high: Upper end.
        macs: Multiply-accumulates of one inference.
        parameters: Number of parameters.
        nonzero_parameters: Those that are not zero.
        peak_memory_bytes: Peak resident memory that inference added, or None.
        energy_mj: Energy of one inference in millijoule, estimated from its operations.
        energy_measured_mj: The same by the processor's counters, per batch, or None where they cannot be read.
        cost_per_million: Price of a million inferences.
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    n_samples: int
    size_bytes: int
    runtime_size_bytes: int
    macs: int
    parameters: int
    nonzero_parameters: int
    quality: str = ACCURACY.key
    bits_per_character: float | None = None
    mean_absolute_error: float | None = None
    mean_absolute_error_low: float | None = None
    mean_absolute_error_high: float | None = None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    latency_low: float | None = None
    latency_high: float | None = None
    speedup: float | None = None
    speedup_low: float | None = None
    speedup_high: float | None = None
    peak_memory_bytes: int | None = None
    energy_mj: float | None = None
    energy_measured_mj: float | None = None
    cost_per_million: float | None = None

    @property
    def kind(self) -> Quality:
        """How `accuracy` is named and shown."""
        return quality(self.quality)


@dataclass(frozen=True)
class LayerRecord:
    """One weight layer of the artifact.

    Attributes:
        fqn: Name of the layer in the model.
        kind: "Conv2d" or "Linear".
        shape: Weight shape.
        packed_bytes: Bytes of its parameters in the packed file.
        macs: Multiply-accumulates of one inference.
        sparsity: Fraction of zero weights.
        encoding: How its weights are stored ("4-bit grid", "float32", ...).
        kernel: What executes it ("int8", "int4", "float32", ...).
        note: Why it stayed in float, or another remark; empty if none.
    """

    fqn: str
    kind: str
    shape: tuple[int, ...]
    packed_bytes: int
    macs: int
    sparsity: float
    encoding: str
    kernel: str
    note: str = ""


@dataclass(frozen=True)
class TrainingRecord:
    """How one training of a recipe went.

    Attributes:
        technique: Key of the step that trained.
        epochs: Epochs that the recipe asks for.
        epochs_done: Those that were done; fewer where somebody had enough.
        kept_epoch: When the network was in the state that was kept.
        history: One record per evaluation, see `compression.context.StepReport`.
    """

    technique: str
    epochs: int
    epochs_done: float
    kept_epoch: float
    history: tuple[dict[str, float], ...] = ()

    @property
    def stopped_early(self) -> bool:
        """Whether it did less than the recipe says."""
        return self.epochs_done < self.epochs


def training_from_dict(data: dict[str, Any]) -> TrainingRecord:
    """Inverse of `asdict` (also after a trip through JSON)."""
    return TrainingRecord(**{**data, "history": tuple(dict(record) for record in data["history"])})


def plain_model(model: Any) -> str:
    """A recipe's model in one word: its name, or of one that the recipe describes its architecture's or its file's."""
    if isinstance(model, str):
        return model
    named = model.get("architecture") or Path(str(model.get("onnx") or model.get("huggingface"))).name
    return str(named)


@dataclass(frozen=True)
class ExperimentResult:
    """One artifact with its figures, its baseline's, and all that reproduces it.

    Attributes:
        key: Identity in the store: recipe, model, data and code version.
        recipe: Mapping form of the recipe.
        figures: This artifact's numbers.
        baseline: The uncompressed model's, measured the same way on the same samples.
        change: Accuracy minus the baseline's on the same samples, with its paired interval; None where it is not known.
        badges: Badge per field of `figures`; "preliminary" while it comes from a few samples or a short timing,
            "disturbed" of a timing while the machine was busy.
        badge_notes: Why a field is simulated or preliminary, or which model an estimate comes from.
        layers: Per-layer record.
        notes: Sentences of the steps (what was skipped and why, what changed nothing).
        explanation: Short answers to "why isn't it smaller / faster?".
        environment: CPU, threads, versions, machine id.
        stage: "quick" while intervals are still wide, "full" when final.
        seconds: Wall time per stage of the run.
        trainings: One record per step that trained.
        created: ISO date and time.
        task: Of the model.
        samples: What accuracy was scored on, in words: "160 images".
        clock: Names the timings that its latency is read from; empty where its figures hold the latency.
        structure: Which of them is this artifact's.
    """

    key: str
    recipe: dict[str, Any]
    figures: Figures
    baseline: Figures
    badges: dict[str, Badge]
    badge_notes: dict[str, str] = field(default_factory=dict)
    layers: tuple[LayerRecord, ...] = ()
    notes: tuple[str, ...] = ()
    explanation: tuple[str, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict)
    stage: Literal["quick", "full"] = "full"
    seconds: dict[str, float] = field(default_factory=dict)
    trainings: tuple[TrainingRecord, ...] = ()
    created: str = ""
    change: AccuracyChange | None = None
    task: str = ""
    samples: str = ""
    clock: str = ""
    structure: str = ""

    @property
    def model_name(self) -> str:
        """The model in one word, for people and for grouping."""
        return plain_model(self.recipe["model"])

    @property
    def stopped_early(self) -> bool:
        """Whether a training did less than the recipe says, so that this is not yet the recipe's own result."""
        return any(training.stopped_early for training in self.trainings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def flat(self) -> dict[str, Any]:
        """The command line's form: figures at the top level, `baseline` with the same fields.

        The quality has its name: "r2" instead of "accuracy" of a regression.
        """
        data = self.to_dict()
        figures, baseline = (named_quality(data.pop(name)) for name in ("figures", "baseline"))
        badges = {figures["quality"] if name == "accuracy" else name: badge for name, badge in self.badges.items()}
        return {**figures, **data, "baseline": baseline, "badges": badges}


def named_quality(figures: dict[str, Any]) -> dict[str, Any]:
    """The mapping form of figures with the quality under its name, and without figures of other tasks' qualities."""
    key = figures["quality"]
    renamed = {name.replace("accuracy", key) if name.startswith("accuracy") else name: value
               for name, value in figures.items()}
    return renamed if key == R2.key else {
        name: value for name, value in renamed.items() if not name.startswith("mean_absolute_error")
    }


def result_from_dict(data: dict[str, Any]) -> ExperimentResult:
    """Inverse of `ExperimentResult.to_dict` (also after a trip through JSON)."""
    known = {f.name for f in fields(ExperimentResult)}
    values = {k: v for k, v in data.items() if k in known}
    values["figures"] = Figures(**values["figures"])
    values["baseline"] = Figures(**values["baseline"])
    layers = (LayerRecord(**{**layer, "shape": tuple(layer["shape"])}) for layer in values.get("layers", ()))
    values["layers"] = tuple(layers)
    values["trainings"] = tuple(training_from_dict(own) for own in values.get("trainings", ()))
    change = values.get("change")
    values["change"] = None if change is None else AccuracyChange(**change)
    values["notes"] = tuple(values.get("notes", ()))
    values["explanation"] = tuple(values.get("explanation", ()))
    return ExperimentResult(**values)


def result_from_json(text: str) -> ExperimentResult:
    """Read a result from JSON text."""
    return result_from_dict(json.loads(text))
