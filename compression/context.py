"""What a technique is given beside the model and its config."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from compression.errors import CancelledError

Batch = tuple[Tensor, Tensor]


@dataclass
class StepReport:
    """What one step did, for the result's explanation.

    Attributes:
        notes: Sentences for the user.
        skipped: Layers left alone, ``fqn -> why``.
        changed: Layers changed.
        history: Curve of a training: one record per evaluation.
    """

    notes: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)


def _ignore(fraction: float, message: str) -> None:
    del fraction, message


@dataclass
class CompressionContext:
    """Data, cache and callbacks of one compression run. All data come from the training split.

    Attributes:
        original: The uncompressed model in eval mode; the teacher of every recovery. Never modified.
        example_input: One prepared input batch, (1, ...).
        calibration_inputs: Prepared inputs (N, ...), a fixed sample of the training split.
        calibration_targets: Their targets, (N,) or (N, T).
        training_batches: ``epoch -> iterator of (inputs, targets)``: shuffled, augmented, seeded batches.
        task: "image_classification", "language_modeling" or "text_classification".
        model_key: Hash of the original's weights, for caches.
        data_key: Hash of the calibration data, for caches.
        batches_per_epoch: How many batches one epoch has.
        seed: Seed of everything random.
        cache_dir: Where statistics may be kept on disk, or None.
        protected: fqns of the first and last layer, left alone or kept at 8 bits by default at low bits.
        progress: Called with a fraction in [0, 1] and a short message.
        cancelled: Polled; True stops the run.
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
    seed: int = 0
    cache_dir: Path | None = None
    protected: tuple[str, ...] = ()
    progress: Callable[[float, str], None] = _ignore
    cancelled: Callable[[], bool] = bool
    report: StepReport = field(default_factory=StepReport)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    overrides: dict[str, dict[str, object]] = field(default_factory=dict)

    def check_cancelled(self) -> None:
        """Raise `CancelledError` when the user has cancelled."""
        if self.cancelled():
            raise CancelledError("cancelled")
