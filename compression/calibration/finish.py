"""What every step that changes weights ends with: statistics corrected, and kept only where that helps."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compression.calibration.batch_norm import batch_norms, correct_batch_norm
from compression.context import CompressionContext

_SAMPLES = 256


def finish_step(model: nn.Module, context: CompressionContext) -> None:
    """Correct the batch-norm statistics; take the correction back where the calibration loss does not improve.

    The loss is that of the calibration sample, which belongs to the training split.
    """
    norms = batch_norms(model)
    if not norms:
        return
    before = {fqn: (norm.running_mean.clone(), norm.running_var.clone()) for fqn, norm in norms.items()}
    loss = calibration_loss(model, context)
    if not correct_batch_norm(model, context):
        return
    corrected = calibration_loss(model, context)
    if corrected < loss:
        context.report.notes.append(f"batch-norm correction: calibration loss {loss:.3f} -> {corrected:.3f}")
        return
    for fqn, norm in norms.items():
        norm.running_mean.copy_(before[fqn][0])
        norm.running_var.copy_(before[fqn][1])


@torch.inference_mode()
def calibration_loss(model: nn.Module, context: CompressionContext) -> float:
    """Mean distance of the model's predictions from the original's on the calibration sample (KL, nats)."""
    inputs = context.calibration_inputs[:_SAMPLES]
    logits, wanted = _flat(model(inputs)), _flat(context.original(inputs))
    return float(F.kl_div(logits.log_softmax(-1), wanted.log_softmax(-1), log_target=True, reduction="batchmean"))


def _flat(logits: Tensor) -> Tensor:
    return logits.flatten(0, -2)
