"""Fine-tuning with the uncompressed model as the teacher."""

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.calibration.batch_norm import calibration_sample
from compression.calibration.finish import distance_from_original
from compression.context import Batch, CompressionContext
from compression.state import state_of
from compression.training.constraints import Constraints
from compression.training.losses import distillation_loss

_MOST_BATCHES = 400
_REPORT_EVERY = 10


@dataclass(frozen=True)
class TrainingSettings:
    """How to fine-tune.

    Attributes:
        epochs: Passes over the training split; a pass has at most 400 batches of text, all batches of images.
        learning_rate: Peak of AdamW's, after a short warm-up and before a cosine to zero.
        temperature: Of the teacher's predictions.
        alpha: Weight of the teacher; 0 trains without.
        loss: "kd" or "decoupled".
    """

    epochs: int
    learning_rate: float
    temperature: float = 4.0
    alpha: float = 0.9
    loss: str = "kd"


def fine_tune(model: nn.Module, context: CompressionContext, settings: TrainingSettings) -> nn.Module:
    """Train in place under the model's masks, grids and codebooks; student and teacher see the same crops.

    The result is kept only if its predictions on the calibration sample (training split) are no further from the
    original's than before.

    Raises:
        CancelledError: if the user cancelled.
    """
    if settings.epochs == 0:
        return model
    before = (copy.deepcopy(model.state_dict()), copy.deepcopy(state_of(model)))
    start = _distance(model, context)
    constraints = Constraints(model)
    _train(model, context, settings, constraints)
    constraints.impose()
    end = _distance(model, context)
    context.report.notes.append(f"distance from the original's predictions {start:.3g} -> {end:.3g}")
    if end <= start:
        context.report.changed.append("all layers")
    else:
        model.load_state_dict(before[0])
        vars(state_of(model)).update(vars(before[1]))
        context.report.notes.append("fine-tuning did not help and was taken back")
    return model


def _train(
    model: nn.Module, context: CompressionContext, settings: TrainingSettings, constraints: Constraints
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    total, done = _batches_per_epoch(context) * settings.epochs, 0
    model.train().requires_grad_(True)
    for epoch in range(settings.epochs):
        losses = []
        for inputs, targets in _batches(context, epoch):
            context.check_cancelled()
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _schedule(done, total)
            losses.append(_step(model, context, inputs, targets, settings, constraints, optimizer))
            done += 1
            if done % _REPORT_EVERY == 0:
                context.progress(done / total, f"epoch {epoch + 1} of {settings.epochs}, loss {losses[-1]:.3f}")
        context.report.notes.append(f"epoch {epoch + 1}: mean training loss {sum(losses) / max(1, len(losses)):.3f}")
    model.eval().requires_grad_(False)


def _step(
    model: nn.Module, context: CompressionContext, inputs: Tensor, targets: Tensor, settings: TrainingSettings,
    constraints: Constraints, optimizer: torch.optim.Optimizer,
) -> float:
    with torch.no_grad():
        teacher = context.original(inputs).flatten(0, -2) if settings.alpha else torch.empty(0)
    constraints.impose()
    with torch.enable_grad():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported()):
            logits = model(inputs)
        loss = distillation_loss(
            logits.float().flatten(0, -2), teacher, targets.flatten(),
            temperature=settings.temperature, alpha=settings.alpha, kind=settings.loss,
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    constraints.release()
    optimizer.step()
    return loss.item()


def _batches(context: CompressionContext, epoch: int) -> Iterator[Batch]:
    batches = context.training_batches(epoch)
    return itertools.islice(batches, _MOST_BATCHES) if context.task == "language_modeling" else batches


def _batches_per_epoch(context: CompressionContext) -> int:
    whole = context.batches_per_epoch
    return min(whole, _MOST_BATCHES) if context.task == "language_modeling" else whole


def _schedule(step: int, steps: int) -> float:
    warm_up = max(1, min(50, steps // 10))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, steps - warm_up))))


@torch.inference_mode()
def _distance(model: nn.Module, context: CompressionContext) -> float:
    return distance_from_original(model(calibration_sample(context)), context)
