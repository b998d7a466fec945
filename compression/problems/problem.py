"""What a kind of task decides: how outputs are scored, trained on and compared."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from torch import Generator, Tensor

from compression.problems.quality import ACCURACY, Quality

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Sizes:
    """Numbers of samples; of large images a quarter.

    Attributes:
        calibration: Of the training split, on which techniques calibrate.
        selection: By which searches choose.
        held_out: On which a training chooses its best state.
        training_batch: Of one step of a training.
        scoring_batch: Of one run of an artifact.
        quick: Of a first, coarse score.
        probing: On which single layers are compared.
        probing_batch: Of one of its runs.
        distribution: Whose inputs and outputs of layers are counted.
    """

    calibration: int = 512
    selection: int = 512
    held_out: int = 512
    training_batch: int = 64
    scoring_batch: int = 64
    quick: int = 160
    probing: int = 128
    probing_batch: int = 64
    distribution: int = 64


@dataclass(frozen=True)
class Evaluation:
    """What a split gave.

    Attributes:
        n: Scored predictions (tokens of language models).
        accuracy: The problem's quality: fraction of right predictions, or R2 of a regression.
        low: Lower end of its 95 % interval.
        high: Upper end.
        arrays: Per sample: "predictions"; of classifiers "confidences" (probability of the prediction) and "truths"
            (probability of the target), float16.
        extras: Other figures by their field in `Figures`: "bits_per_character", "mean_absolute_error" and the like.
    """

    n: int
    accuracy: float
    low: float
    high: float
    arrays: dict[str, np.ndarray]
    extras: dict[str, float] = field(default_factory=dict)

    @property
    def predictions(self) -> np.ndarray:
        """Predicted class or token (int16), or value (float32) per sample."""
        return self.arrays["predictions"]

    @property
    def confidences(self) -> np.ndarray:
        """Probability of each prediction, of classifiers."""
        return self.arrays["confidences"]

    @property
    def truths(self) -> np.ndarray:
        """Probability of each target, of classifiers."""
        return self.arrays["truths"]

    @property
    def loss_bits(self) -> float | None:
        """Cross-entropy in bits per token; None but for language models."""
        return self.extras.get("bits_per_character")


@dataclass(frozen=True)
class PairedDifference:
    """Quality of a second artifact less that of a first one on the same samples, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def tied(self) -> bool:
        """Whether the difference may be none at all."""
        return self.low <= 0.0 <= self.high


class Problem(ABC):
    """One kind of task.

    Class attributes:
        key: Name of the task, as model and dataset records have it.
        title: Name for people.
        quality: By which its models are compared.
        sizes: Numbers of samples.
        inputs: What a model takes.
        use: What a model does, for a model card; formatted with shape and classes.
        discrete: Whether predictions are classes, so that they are equal or not.
        reduced_precision: Whether trainings may compute in bfloat16; values that are regressed need float32's digits.
        divergence_title: What `divergence` is, in words.
        divergence_unit: Of `divergence`.
        most_batches: Batches of one epoch at most; None for all of the split.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    quality: ClassVar[Quality] = ACCURACY
    sizes: ClassVar[Sizes] = Sizes()
    inputs: ClassVar[Literal["images", "tokens"]] = "images"
    use: ClassVar[str]
    discrete: ClassVar[bool] = True
    reduced_precision: ClassVar[bool] = True
    divergence_title: ClassVar[str] = "Mean KL divergence (nats) of predictions"
    divergence_unit: ClassVar[str] = "nats"
    most_batches: ClassVar[int | None] = None

    @abstractmethod
    def flat(self, outputs: Tensor) -> Tensor:
        """Outputs as (samples or tokens, classes or 1)."""

    @abstractmethod
    def score(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        """One batch of outputs against its targets: arrays of the targets' shape, which `evaluate` takes."""

    @abstractmethod
    def evaluate(self, scored: Arrays, targets: np.ndarray) -> Evaluation:
        """The arrays of all batches as figures with intervals."""

    def part(self, whole: Evaluation, targets: np.ndarray, rows: np.ndarray) -> Evaluation:
        """The figures of some of an evaluation's samples.

        Args:
            whole: Of all samples.
            targets: Theirs.
            rows: Indices of those that are wanted.
        """
        return self.evaluate(self._scored({name: own[rows] for name, own in whole.arrays.items()}), targets[rows])

    def _scored(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """What `evaluate` takes, from what is kept of it."""
        return dict(arrays)

    @abstractmethod
    def paired_difference(self, before: Arrays, after: Arrays, targets: np.ndarray) -> PairedDifference:
        """Change of the quality between two artifacts that were scored on the same samples."""

    @abstractmethod
    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of flat outputs against flat targets, a scalar."""

    @abstractmethod
    def training_loss(
        self, outputs: Tensor, teacher: Tensor, targets: Tensor, *, temperature: float, alpha: float, kind: str
    ) -> Tensor:
        """``(1 - alpha)`` of the task's loss and ``alpha`` of the distance from the teacher, a scalar."""

    @abstractmethod
    def quality_of(self, outputs: Tensor, targets: Tensor) -> float:
        """Quality of flat outputs, as a fraction; flat targets."""

    @abstractmethod
    def fisher_gradient(self, outputs: Tensor, generator: Generator) -> Tensor:
        """Random gradients at flat outputs whose second moment is the loss's Fisher information there.

        That of one output, ``E[u u^T]``, equals the mean over targets drawn from the model's predictions, with less
        variance: predictions that are nearly certain need no rare draw to count.
        """

    @abstractmethod
    def divergence_of_loss(self, growth: float, outputs: Tensor) -> float:
        """`divergence` where the loss per output, with targets drawn from the model, grows by a small amount.

        Args:
            growth: Half of the change's square in the metric of `task_loss`'s squared gradients, per output.
            outputs: Flat outputs of the uncompressed model.
        """

    @abstractmethod
    def expected_drop(self, divergence: float, outputs: Tensor, targets: Tensor) -> float:
        """Quality that a perturbation of the outputs of this divergence is expected to cost, as a fraction.

        Args:
            divergence: See `divergence`.
            outputs: Flat outputs of the uncompressed model.
            targets: Flat targets.
        """

    @abstractmethod
    def agreement(self, outputs: Tensor, teacher: Tensor) -> float:
        """How far flat outputs are the teacher's: share of equal predictions, or R2 against its outputs."""

    @abstractmethod
    def divergence(self, outputs: Tensor, wanted: Tensor) -> float:
        """Distance of flat outputs from those of the uncompressed model, 0 or more, in `divergence_unit`."""
