"""What every step that changes weights ends with: statistics corrected, and kept only where that helps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compression.calibration.batch_norm import batch_norms, calibration_sample, correct_batch_norm, original_pass
from compression.calibration.moments import correct_moments, correctable
from compression.context import CompressionContext
from compression.layers import weight_layers

_SAMPLES = 64


def finish_step(model: nn.Module, context: CompressionContext, start: float = 1.0) -> None:
    """Correct batch-norm statistics, or without batch norm biases and layer norms.

    The correction is taken back where the calibration loss does not improve: that of the calibration sample, which
    belongs to the training split.

    Args:
        model: In eval mode; changed in place.
        context: For the sample, progress and cancel.
        start: Fraction of the step that is done.
    """
    if not context.corrects:
        return
    context = context.phase(start, 1.0)
    if batch_norms(model):
        before = {n: b.clone() for n, b in model.named_buffers()}
        _correct(model, context, "batch-norm correction", before)
    else:
        before = {n: model.get_parameter(n).detach().clone() for n in correctable(model)}
        if before:
            _correct(model, context, "correction of biases and layer norms", before)


def _correct(model: nn.Module, context: CompressionContext, title: str, before: dict[str, Tensor]) -> None:
    with watched(context.original, context.phase(0.0, 0.4), title):
        original_pass(context)
    with torch.inference_mode(), watched(model, context.phase(0.4, 0.7), title):
        loss = distance_from_original(model(calibration_sample(context)[:_SAMPLES]), context)
    with watched(model, context.phase(0.7, 1.0), title):
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


@contextmanager
def watched(model: nn.Module, context: CompressionContext, message: str) -> Iterator[None]:
    """Report progress and look for a cancel before each layer of one pass through a model."""
    layers, watch, done = list(weight_layers(model)), context.watch(message), [0]

    def before(*_: Any) -> None:
        watch(min(1.0, done[0] / len(layers)))
        done[0] += 1

    handles = [layer.register_forward_pre_hook(before) for _, layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
