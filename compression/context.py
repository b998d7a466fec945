"""What a technique is given beside the model and its config."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor, nn

from compression.core.errors import CancelledError
from compression.problems import Problem, problem_of

Batch = tuple[Tensor, Tensor]


@dataclass
class StepReport:
    """What one step did, for the result's explanation.

    Attributes:
        notes: Sentences for the user.
        skipped: Layers left alone, ``fqn -> why``.
        changed: Layers changed.
        history: Curve of a training, one record per evaluation: "epoch" (0 is before the first batch), "loss" (mean
            training loss since the evaluation before; not at epoch 0), and of held-out training samples
            "held_out_loss", "accuracy" (the problem's quality) and "agreement" with the teacher, fractions.
        epochs: Epochs that a training was asked for; 0 where there was none.
        epochs_done: Those that it did.
        kept_epoch: When it was in the state that was kept.
        replaced: Whether the model is another network now, so that later steps compare with this one.
    """

    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    epochs: int = 0
    epochs_done: float = 0.0
    kept_epoch: float = 0.0
    replaced: bool = False


def _ignore(*arguments: object) -> None:
    del arguments


@dataclass
class CompressionContext:
    """Data, cache and callbacks of one compression run. All data come from the training split.

    Attributes:
        original: The network that layers are compared with: the uncompressed model, or the student that took its
            place. In eval mode, never modified.
        example_input: One prepared input batch, (1, ...).
        calibration_inputs: Prepared inputs (N, ...), a fixed sample of the training split.
        calibration_targets: Their targets, (N,) or (N, T).
        training_batches: ``epoch -> iterator of (inputs, targets)``: shuffled, augmented, seeded batches.
        task: Name of the task, one of `compression.problems.PROBLEMS`.
        held_out: Prepared inputs and targets of the training split that no training batch holds, on which a training
            chooses its best state; where None, the calibration sample stands in.
        teacher: The uncompressed model where `original` is something else, else None.
        students: Smaller networks that may learn from this model: ``name -> builder of it, untrained``.
        model_key: Hash of the original's weights, for caches.
        data_key: Hash of the calibration data, for caches.
        batches_per_epoch: How many batches one epoch has.
        corrects: Whether steps end with the correction of batch-norm statistics and biases.
        seed: Seed of everything random.
        cache_dir: Where statistics may be kept on disk, or None.
        protected: fqns of the layer executed first and of those that make the outputs, left alone or kept at 8 bits
            by default at low bits.
        progress: Called with a fraction in [0, 1] and a short message.
        cancelled: Polled; True stops the run.
        enough: Polled; True ends a training early, with the best state so far.
        evaluated: Called with the step's report after each evaluation of a training.
        report: What the current step did; a fresh one for each step.
        include: fqns or regexes a step is limited to (empty: all).
        exclude: fqns or regexes a step leaves alone.
        overrides: ``fqn or regex -> {knob: value}`` of the current step.
    """

    original: nn.Module
    example_input: Tensor
    calibration_inputs: Tensor
    calibration_targets: Tensor
    training_batches: Callable[[int], Iterator[Batch]]
    task: str
    model_key: str
    data_key: str
    batches_per_epoch: int = 1
    corrects: bool = True
    seed: int = 0
    cache_dir: Path | None = None
    protected: tuple[str, ...] = ()
    held_out: Batch | None = None
    teacher: nn.Module | None = None
    students: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    progress: Callable[[float, str], None] = _ignore
    cancelled: Callable[[], bool] = bool
    enough: Callable[[], bool] = bool
    evaluated: Callable[[StepReport], None] = _ignore
    report: StepReport = field(default_factory=StepReport)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    overrides: dict[str, dict[str, object]] = field(default_factory=dict)

    @property
    def problem(self) -> Problem:
        """How outputs are scored and trained on."""
        return problem_of(self.task)

    def teach(self, inputs: Tensor) -> Tensor:
        """Predictions of the uncompressed model, the teacher of every training."""
        return (self.original if self.teacher is None else self.teacher)(inputs)

    def phase(self, start: float, end: float) -> "CompressionContext":
        """The same context for a part of the step: its progress from 0 to 1 is the step's from `start` to `end`."""
        whole = self.progress
        return replace(self, progress=lambda fraction, message: whole(start + (end - start) * fraction, message))

    def watch(self, message: str) -> Callable[[float], None]:
        """A callback of a fraction that reports progress and stops where the user has cancelled."""

        def look(fraction: float) -> None:
            self.check_cancelled()
            self.progress(fraction, message)

        return look

    def check_cancelled(self) -> None:
        """Raise `CancelledError` when the user has cancelled."""
        if self.cancelled():
            raise CancelledError("cancelled")
