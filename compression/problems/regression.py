"""One value per sample: compared by R2, with the mean absolute error beside it."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from compression.core.intervals import bootstrap_interval, mean_interval
from compression.problems.problem import Arrays, Evaluation, PairedDifference, Problem
from compression.problems.quality import R2

_TINY = 1e-12


class Regression(Problem):
    """The output is the value itself."""

    key, title, quality = "regression", "Regression", R2
    use = "predicts one value per image of shape {shape}"
    discrete = reduced_precision = False
    divergence_title = "Mean squared difference of outputs over their variance"
    divergence_unit = "of the outputs' variance"

    def flat(self, outputs: Tensor) -> Tensor:
        return outputs.reshape(-1, 1)

    def score(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
        return {"predictions": outputs.astype(np.float32).reshape(targets.shape)}

    def evaluate(self, scored: Arrays, targets: np.ndarray) -> Evaluation:
        """R2 with a bootstrap interval; mean absolute error with a t-interval."""
        found, wanted = scored["predictions"].astype(np.float64).ravel(), targets.astype(np.float64).ravel()
        errors = np.abs(found - wanted)
        columns = np.stack([errors**2, *_moments(wanted)], 1)
        value = float(_r2(columns.mean(0)[None])[0])
        low, high = bootstrap_interval(columns, _r2) or (value, value)
        mae_low, mae_high = mean_interval(errors)
        extras = {
            "mean_absolute_error": float(errors.mean()), "mean_absolute_error_low": max(0.0, mae_low),
            "mean_absolute_error_high": mae_high,
        }
        arrays = {"predictions": scored["predictions"]}
        return Evaluation(len(wanted), value, min(low, value), max(high, value), arrays, extras)

    def paired_difference(self, before: Arrays, after: Arrays, targets: np.ndarray) -> PairedDifference:
        """Both R2 on the same resampled samples: what both get wrong alike cancels."""
        wanted = targets.astype(np.float64).ravel()
        squares = [(own["predictions"].astype(np.float64).ravel() - wanted) ** 2 for own in (before, after)]
        columns = np.stack([squares[1] - squares[0], *_moments(wanted)], 1)
        value = float(_gain(columns.mean(0)[None])[0])
        low, high = bootstrap_interval(columns, _gain) or (value, value)
        return PairedDifference(value, min(low, value), max(high, value))

    def task_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs.flatten(), targets.to(outputs.dtype))

    def training_loss(
        self, outputs: Tensor, teacher: Tensor, targets: Tensor, *, temperature: float, alpha: float, kind: str
    ) -> Tensor:
        del temperature, kind  # of probabilities only
        hard = self.task_loss(outputs, targets)
        return hard if alpha == 0 else (1 - alpha) * hard + alpha * F.mse_loss(outputs.flatten(), teacher.flatten())

    def quality_of(self, outputs: Tensor, targets: Tensor) -> float:
        """R2; 0 where all targets are equal, so that it is not defined."""
        wanted = targets.double()
        variance = float((wanted - wanted.mean()).square().mean())
        error = float((outputs.flatten().double() - wanted).square().mean())
        return 1 - error / variance if variance > _TINY else 0.0

    def fisher_gradient(self, outputs: Tensor, generator: Generator) -> Tensor:
        """Of the squared error against targets with variance 1: 2 or -2."""
        return torch.randint(0, 2, outputs.shape, generator=generator).to(outputs.dtype) * 4 - 2

    def divergence_of_loss(self, growth: float, outputs: Tensor) -> float:
        """The squared gradient of the squared error is 4 times that of the outputs."""
        variance = float((outputs.double() - outputs.double().mean()).square().mean())
        return growth / (2 * max(variance, _TINY))

    def expected_drop(self, divergence: float, outputs: Tensor, targets: Tensor) -> float:
        """Of a perturbation that is independent of the residuals."""
        ours, wanted = outputs.double(), targets.double()
        variances = [float((values - values.mean()).square().mean()) for values in (ours, wanted)]
        return divergence * variances[0] / max(variances[1], _TINY)

    def agreement(self, outputs: Tensor, teacher: Tensor) -> float:
        return self.quality_of(outputs, teacher.flatten())

    def divergence(self, outputs: Tensor, wanted: Tensor) -> float:
        """Mean squared difference over the variance of the original's outputs."""
        theirs = wanted.double()
        variance = float((theirs - theirs.mean()).square().mean())
        return float((outputs.double() - theirs).square().mean()) / max(variance, _TINY)


def _moments(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets and their squares, about their mean so that no digits are lost."""
    centered = wanted - wanted.mean()
    return centered, centered**2


def _variance(means: np.ndarray) -> np.ndarray:
    return means[:, 2] - means[:, 1] ** 2


def _r2(means: np.ndarray) -> np.ndarray:
    return 1 - means[:, 0] / _variance(means)


def _gain(means: np.ndarray) -> np.ndarray:
    return -means[:, 0] / _variance(means)
