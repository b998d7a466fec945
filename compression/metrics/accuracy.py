"""Accuracy of an artifact: its ONNX graph executed by ONNX Runtime on the scored split."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compression.errors import CancelledError
from compression.metrics.session import open_session

_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Evaluation:
    """What the scored split gave.

    Attributes:
        n: Scored predictions (tokens for language models).
        accuracy: Fraction of right ones.
        low: Lower end of the 95 % Wilson interval.
        high: Upper end.
        loss_bits: Cross-entropy in bits per token; None for classification.
        predictions: Predicted class or token, (N,) or (N, T), int16.
        confidences: Probability of the prediction, float16, same shape.
        truths: Probability of the target, float16, same shape.
    """

    n: int
    accuracy: float
    low: float
    high: float
    loss_bits: float | None
    predictions: np.ndarray
    confidences: np.ndarray
    truths: np.ndarray


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion (Wilson 1927).

    Raises:
        ValueError: if n is not positive.
    """
    if n <= 0:
        raise ValueError("an interval needs at least one sample")
    share = correct / n
    denominator = 1 + _Z**2 / n
    center = (share + _Z**2 / (2 * n)) / denominator
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / denominator
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))


def _ignore(fraction: float, message: str) -> None:
    del fraction, message


def evaluate_onnx(
    path: Path,
    batches: Iterable[np.ndarray],
    targets: np.ndarray,
    *,
    task: str,
    threads: int = 1,
    progress: Callable[[float, str], None] = _ignore,
    cancelled: Callable[[], bool] = bool,
    session: Any = None,
) -> Evaluation:
    """Execute a graph on prepared inputs and compare with the targets.

    Args:
        path: ONNX file with input "input" and output "output".
        batches: Prepared inputs, together as many as targets.
        targets: int64 classes (N,) or next tokens (N, T).
        task: "language_modeling" adds the loss in bits.
        threads: Threads of one operator.
        progress: Called with a fraction.
        cancelled: Polled before each batch.
        session: What executes the graph: its ``run(["output"], {"input": batch})``; by default one of ONNX Runtime.

    Raises:
        CancelledError: if `cancelled` became true.
        ValueError: if inputs and targets do not match in number.
    """
    session = session or open_session(path, threads)
    predictions, confidences, truths, bits, done = [], [], [], 0.0, 0
    for batch in batches:
        if cancelled():
            raise CancelledError("cancelled")
        log_probabilities = _log_softmax(session.run(["output"], {"input": batch})[0])
        wanted = targets[done : done + len(batch)]
        if len(wanted) < len(batch):
            raise ValueError(f"more than {done} inputs for {len(targets)} targets")
        best = log_probabilities.argmax(-1)
        predictions.append(best.astype(np.int16))
        confidences.append(np.exp(np.take_along_axis(log_probabilities, best[..., None], -1))[..., 0])
        right = np.take_along_axis(log_probabilities, wanted[..., None], -1)[..., 0]
        truths.append(np.exp(right))
        if task == "language_modeling":
            bits -= float(right.sum()) / math.log(2)
        done += len(batch)
        progress(done / len(targets), "scoring")
    if done != len(targets):
        raise ValueError(f"{done} inputs for {len(targets)} targets")
    found = np.concatenate(predictions)
    correct, n = int((found == targets).sum()), int(targets.size)
    low, high = wilson_interval(correct, n)
    loss = bits / n if task == "language_modeling" else None
    probabilities = (np.concatenate(own).astype(np.float16) for own in (confidences, truths))
    return Evaluation(n, correct / n, low, high, loss, found, *probabilities)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
