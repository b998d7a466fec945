"""What every step that changes weights ends with: statistics corrected, and kept only where that helps."""

import torch
from torch import Tensor, nn

from compression.calibration.batch_norm import batch_norms, calibration_sample, correct_batch_norm, original_pass
from compression.calibration.moments import correct_moments, correctable
from compression.context import CompressionContext

_SAMPLES = 64


def finish_step(model: nn.Module, context: CompressionContext) -> None:
    """Correct batch-norm statistics, or without batch norm biases and layer norms.

    The correction is taken back where the calibration loss does not improve: that of the calibration sample, which
    belongs to the training split.
    """
    if batch_norms(model):
        before = {n: b.clone() for n, b in model.named_buffers()}
        _correct(model, context, "batch-norm correction", before)
    else:
        before = {n: model.get_parameter(n).detach().clone() for n in correctable(model)}
        if before:
            _correct(model, context, "correction of biases and layer norms", before)


def _correct(model: nn.Module, context: CompressionContext, title: str, before: dict[str, Tensor]) -> None:
    with torch.inference_mode():
        loss = distance_from_original(model(calibration_sample(context)[:_SAMPLES]), context)
    output = correct_batch_norm(model, context) if batch_norms(model) else correct_moments(model, context)
    if output is None:
        return
    corrected = distance_from_original(output[:_SAMPLES], context)
    if corrected < loss:
        context.report.notes.append(f"{title}: calibration loss {loss:.3g} -> {corrected:.3g}")
        return
    now = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in before.items():
            now[name].copy_(value)


def distance_from_original(output: Tensor, context: CompressionContext) -> float:
    """The problem's divergence from the original's outputs on the first calibration samples."""
    wanted = original_pass(context)[1][: len(output)]
    return context.problem.divergence(context.problem.flat(output), context.problem.flat(wanted))
