"""Problems in which one of several classes is right: of images, texts, and the next token of a text."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from compression.core.intervals import paired_interval, wilson_interval
from compression.problems.losses import distillation_loss
from compression.problems.problem import Arrays, Evaluation, PairedDifference, Problem, Sizes

LEAST_PROBABILITY = 2.0**-24  # of the 16-bit floats that probabilities are kept as


class Classification(Problem):
    """One output per class; the largest is the prediction."""

    def flat(self, outputs: Tensor) -> Tensor:
        return outputs.flatten(0, -2)

    def score(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        log_probabilities = _log_softmax(outputs)
        best = log_probabilities.argmax(-1)
        chosen = np.take_along_axis(log_probabilities, best[..., None], -1)[..., 0]
        right = np.take_along_axis(log_probabilities, targets[..., None], -1)[..., 0]
        return {"predictions": best.astype(np.int16), "confidences": np.exp(chosen), "log_truths": right}

    def evaluate(self, scored: Arrays, targets: np.ndarray) -> Evaluation:
        found = scored["predictions"]
        correct, n = int((found == targets).sum()), int(targets.size)
        low, high = wilson_interval(correct, n)
        arrays = {
            "predictions": found, "confidences": scored["confidences"].astype(np.float16),
            "truths": np.exp(scored["log_truths"]).astype(np.float16),
        }
        return Evaluation(n, correct / n, low, high, arrays, self._extras(scored["log_truths"]))

    def _extras(self, log_truths: np.ndarray) -> dict[str, float]:
        del log_truths
        return {}

    def paired_difference(self, before: Arrays, after: Arrays, targets: np.ndarray) -> PairedDifference:
        """Only samples that were lost or won count; see `paired_interval`."""
        was, now = (own["predictions"].ravel() == targets.ravel() for own in (before, after))
        counts = (np.array(float(own.sum())) for own in (was, now, was & now))
        return PairedDifference(*(float(own) for own in paired_interval(*counts, targets.size)))

    def _scored(self, arrays: Arrays) -> dict[str, np.ndarray]:
        truths = np.maximum(arrays["truths"].astype(np.float64), LEAST_PROBABILITY)
        return {**arrays, "log_truths": np.log(truths)}

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets)

    def training_loss(
        self, outputs: Tensor, teacher: Tensor, targets: Tensor, *, temperature: float, alpha: float, kind: str
    ) -> Tensor:
        return distillation_loss(outputs, teacher, targets, temperature=temperature, alpha=alpha, kind=kind)

    def quality_of(self, outputs: Tensor, targets: Tensor) -> float:
        return float((outputs.argmax(-1) == targets).double().mean())

    def fisher_gradient(self, outputs: Tensor, generator: Generator) -> Tensor:
        """``sqrt(p) * s - p (sqrt(p) . s)`` with random signs s: its second moment is ``diag(p) - p p^T``."""
        probabilities = outputs.softmax(-1)
        signs = torch.randint(0, 2, outputs.shape, generator=generator).to(outputs.dtype) * 2 - 1
        signed = probabilities.sqrt() * signs
        return signed - probabilities * signed.sum(-1, keepdim=True)

    def divergence_of_loss(self, growth: float, outputs: Tensor) -> float:
        """The same: the cross-entropy's Fisher information is the Hessian of the Kullback-Leibler divergence."""
        del outputs
        return growth

    def expected_drop(self, divergence: float, outputs: Tensor, targets: Tensor) -> float:
        """Of logits with independent normal noise: each target against each of the other classes.

        Noise of variance ``v`` diverges by ``v/2 (1 - sum p^2)``, which gives ``v``.
        """
        logits = outputs.double()
        spread = float((1 - logits.softmax(-1).square().sum(-1)).mean())
        deviation = math.sqrt(2 * max(0.0, divergence) / max(spread, LEAST_PROBABILITY))
        right = logits.gather(-1, targets[:, None])
        others = logits.scatter(-1, targets[:, None], -math.inf)
        return expected_loss_of_right(right - others, math.sqrt(2) * deviation)

    def agreement(self, outputs: Tensor, teacher: Tensor) -> float:
        return float((outputs.argmax(-1) == teacher.argmax(-1)).double().mean())

    def divergence(self, outputs: Tensor, wanted: Tensor) -> float:
        """Mean Kullback-Leibler divergence."""
        ours, theirs = outputs.log_softmax(-1), wanted.log_softmax(-1)
        return max(0.0, float(F.kl_div(ours, theirs, log_target=True, reduction="batchmean")))


def expected_loss_of_right(margins: Tensor, deviation: float) -> float:
    """Fraction of right predictions that normal noise on their margins is expected to cost.

    Args:
        margins: Of the target over each class, above 0 where it wins, (N, classes); infinite over itself.
        deviation: Standard deviation of the noise.
    """
    if deviation == 0.0:
        return 0.0
    right = (margins > 0).all(-1).double()
    kept = torch.special.ndtr(margins.double() / deviation).prod(-1)
    return float((right - kept).mean())


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


class ImageClassification(Classification):
    """Images into classes."""

    key, title = "image_classification", "Image classification"
    use = "classifies images of shape {shape} into {classes} classes"


class TextClassification(Classification):
    """Texts into classes."""

    key, title, inputs = "text_classification", "Text classification", "tokens"
    use = "classifies texts of {shape} tokens into {classes} classes"
    sizes = Sizes(calibration=256, quick=250, distribution=32)


class LanguageModeling(Classification):
    """The next token at each position of a text."""

    key, title, inputs = "language_modeling", "Language modelling", "tokens"
    use = "predicts the next of {classes} characters from up to {shape} of them"
    sizes = Sizes(
        calibration=48, selection=32, held_out=32, training_batch=16, scoring_batch=16, quick=24, probing=16,
        probing_batch=16, distribution=8,
    )
    most_batches = 400

    def _extras(self, log_truths: np.ndarray) -> dict[str, float]:
        return {"bits_per_character": float(-log_truths.sum() / math.log(2) / log_truths.size)}
