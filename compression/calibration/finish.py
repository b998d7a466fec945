"""What every step that changes weights ends with: means and variances corrected, and kept only where that helps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compression.calibration.batch_norm import batch_norms, calibration_sample, correct_batch_norm, original_pass
from compression.calibration.bias import correct_biases
from compression.context import CompressionContext

_SAMPLES = 64


def finish_step(model: nn.Module, context: CompressionContext) -> None:
    """Correct batch-norm statistics, then biases; take back what does not improve the calibration loss.

    The loss is that of the calibration sample, which belongs to the training split.
    """
    with torch.inference_mode():
        loss = distance_from_original(model(calibration_sample(context)[:_SAMPLES]), context)
    if batch_norms(model):
        loss = _finish_batch_norm(model, loss, context)
    _finish_biases(model, loss, context)


def _finish_batch_norm(model: nn.Module, loss: float, context: CompressionContext) -> float:
    norms = batch_norms(model)
    before = {fqn: (norm.running_mean.clone(), norm.running_var.clone()) for fqn, norm in norms.items()}
    output = correct_batch_norm(model, context)
    if output is None:
        return loss
    corrected = distance_from_original(output[:_SAMPLES], context)
    if corrected < loss:
        context.report.notes.append(f"batch-norm correction: calibration loss {loss:.3g} -> {corrected:.3g}")
        return corrected
    for fqn, norm in norms.items():
        norm.running_mean.copy_(before[fqn][0])
        norm.running_var.copy_(before[fqn][1])
    return loss


def _finish_biases(model: nn.Module, loss: float, context: CompressionContext) -> None:
    found = correct_biases(model, context)
    if found is None:
        return
    before, output = found
    corrected = distance_from_original(output[:_SAMPLES], context)
    if corrected < loss:
        context.report.notes.append(f"bias correction: calibration loss {loss:.3g} -> {corrected:.3g}")
        return
    for name, bias in before.items():
        model.get_parameter(name).data = bias


def distance_from_original(output: Tensor, context: CompressionContext) -> float:
    """Mean Kullback-Leibler divergence (nats) from the original's predictions on the first calibration samples."""
    wanted = original_pass(context)[1][: len(output)]
    ours, theirs = output.flatten(0, -2).log_softmax(-1), wanted.flatten(0, -2).log_softmax(-1)
    return float(F.kl_div(ours, theirs, log_target=True, reduction="batchmean"))
