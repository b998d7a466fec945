"""Two classes by one output: its sigmoid is the probability of the second class."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from compression.problems.classification import LEAST_PROBABILITY, Classification, expected_loss_of_right


class BinaryClassification(Classification):
    """One logit; above 0 the second class is predicted."""

    key, title = "binary_classification", "Binary classification"
    use = "gives one logit per image of shape {shape}; above 0 it is the second of two classes"

    def flat(self, outputs: Tensor) -> Tensor:
        return outputs.reshape(-1, 1)

    def score(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        logits = outputs.astype(np.float64).reshape(targets.shape)
        predictions = (logits > 0).astype(np.int16)
        right = -np.logaddexp(0.0, np.where(targets == 1, -logits, logits))
        return {
            "predictions": predictions, "confidences": np.exp(-np.logaddexp(0.0, -np.abs(logits))),
            "log_truths": right,
        }

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(outputs.flatten(), targets.to(outputs.dtype))

    def training_loss(
        self, outputs: Tensor, teacher: Tensor, targets: Tensor, *, temperature: float, alpha: float, kind: str
    ) -> Tensor:
        del kind  # with two classes no other class is left to decouple
        hard = self.task_loss(outputs, targets)
        if alpha == 0:
            return hard
        soft = _divergence(outputs / temperature, teacher / temperature)
        return (1 - alpha) * hard + alpha * temperature**2 * soft

    def quality_of(self, outputs: Tensor, targets: Tensor) -> float:
        return float(((outputs.flatten() > 0) == (targets == 1)).double().mean())

    def fisher_gradient(self, outputs: Tensor, generator: Generator) -> Tensor:
        """Square ``p (1 - p)``, with a random sign."""
        signs = torch.randint(0, 2, outputs.shape, generator=generator).to(outputs.dtype) * 2 - 1
        return signs * (outputs.sigmoid() * (-outputs).sigmoid()).sqrt()

    def expected_drop(self, divergence: float, outputs: Tensor, targets: Tensor) -> float:
        """Of a logit with normal noise, whose variance ``v`` diverges by ``v/2 p (1 - p)``."""
        logits = outputs.double().flatten()
        spread = float((logits.sigmoid() * (-logits).sigmoid()).mean())
        deviation = math.sqrt(2 * max(0.0, divergence) / max(spread, LEAST_PROBABILITY))
        return expected_loss_of_right(torch.where(targets == 1, logits, -logits)[:, None], deviation)

    def agreement(self, outputs: Tensor, teacher: Tensor) -> float:
        return float(((outputs > 0) == (teacher > 0)).double().mean())

    def divergence(self, outputs: Tensor, wanted: Tensor) -> float:
        """Mean Kullback-Leibler divergence of the two probabilities."""
        return max(0.0, float(_divergence(outputs, wanted)))


def _divergence(outputs: Tensor, wanted: Tensor) -> Tensor:
    sure = wanted.sigmoid()
    yes = sure * (F.logsigmoid(wanted) - F.logsigmoid(outputs))
    no = (1 - sure) * (F.logsigmoid(-wanted) - F.logsigmoid(-outputs))
    return (yes + no).mean()
