"""What every step that changes weights ends with: statistics corrected, and kept only where that helps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compression.calibration.batch_norm import batch_norms, calibration_sample, correct_batch_norm, original_pass
from compression.context import CompressionContext

_SAMPLES = 64


def finish_step(model: nn.Module, context: CompressionContext) -> None:
    """Correct the batch-norm statistics; take the correction back where the calibration loss does not improve.

    The loss is that of the calibration sample, which belongs to the training split.
    """
    norms = batch_norms(model)
    if not norms:
        return
    before = {fqn: (norm.running_mean.clone(), norm.running_var.clone()) for fqn, norm in norms.items()}
    with torch.inference_mode():
        loss = distance_from_original(model(calibration_sample(context)[:_SAMPLES]), context)
    output = correct_batch_norm(model, context)
    if output is None:
        return
    corrected = distance_from_original(output[:_SAMPLES], context)
    if corrected < loss:
        context.report.notes.append(f"batch-norm correction: calibration loss {loss:.3g} -> {corrected:.3g}")
        return
    for fqn, norm in norms.items():
        norm.running_mean.copy_(before[fqn][0])
        norm.running_var.copy_(before[fqn][1])


def distance_from_original(output: Tensor, context: CompressionContext) -> float:
    """Mean Kullback-Leibler divergence (nats) from the original's predictions on the first calibration samples."""
    wanted = original_pass(context)[1][: len(output)]
    ours, theirs = output.flatten(0, -2).log_softmax(-1), wanted.flatten(0, -2).log_softmax(-1)
    return float(F.kl_div(ours, theirs, log_target=True, reduction="batchmean"))
