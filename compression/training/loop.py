"""Fine-tuning with the uncompressed model as the teacher."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from compression.context import Batch, CompressionContext
from compression.training.constraints import Constraints
from compression.training.settings import TrainingSettings
from compression.training.validation import Validation, looks_within

Width = Callable[[], AbstractContextManager[Any]]
_REPORT_EVERY = 10


def fine_tune(model: nn.Module, context: CompressionContext, settings: TrainingSettings) -> nn.Module:
    """Train in place under the model's masks, grids and codebooks; student and teacher see the same crops.

    The state that is best on held-out samples of the training split is kept, be it the one before the training.
    Order of samples, crops and dropout follow from the context's seed alone, with a teacher and without. Where
    `context.enough` becomes true, the best state so far is kept; the report says how many epochs were done.

    Raises:
        CancelledError: if the user cancelled.
    """
    if settings.epochs == 0:
        return model
    report = context.report
    report.epochs = settings.epochs
    validation = Validation(model, context, settings)
    validation.look(0.0, [])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        _train(model, context, settings, validation)
    validation.restore()
    if report.epochs_done < report.epochs:
        report.notes.append(f"stopped after epoch {report.epochs_done:.3g} of {report.epochs}")
    report.notes.append(_kept(context))
    if report.kept_epoch > 0:
        report.changed.append("all layers")
    return model


def _kept(context: CompressionContext) -> str:
    report = context.report
    if report.kept_epoch == 0:
        return "fine-tuning did not help and was taken back"
    first, best = report.history[0], next(r for r in report.history if r["epoch"] == report.kept_epoch)
    quality = context.problem.quality
    digits = quality.digits + 1
    return (
        f"kept the state after epoch {report.kept_epoch:.3g} of {report.epochs}, the best on held-out training "
        f"samples: {quality.word} {quality.text(first['accuracy'], digits)} -> {quality.text(best['accuracy'], digits)}"
    )


def _train(
    model: nn.Module, context: CompressionContext, settings: TrainingSettings, validation: Validation
) -> None:
    constraints = Constraints(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    batches = _batches_per_epoch(context)
    total, looks, done = batches * settings.epochs, looks_within(batches), 0
    losses: list[float] = []
    width = _width(model, context)

    def look() -> None:
        constraints.impose()
        validation.look(done / batches, losses)
        constraints.release()
        losses.clear()

    model.train().requires_grad_(True)
    for inputs, targets in itertools.chain.from_iterable(_batches(context, e) for e in range(settings.epochs)):
        context.check_cancelled()
        if done and context.enough():
            break
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(done, total)
        losses.append(_step(model, context, inputs, targets, settings, constraints, optimizer, width))
        done += 1
        if done % _REPORT_EVERY == 0:
            context.progress(done / total, f"epoch {(done - 1) // batches + 1} of {settings.epochs}")
        if (done - 1) % batches + 1 in looks:
            look()
    if losses:
        look()
    model.eval().requires_grad_(False)


def _step(
    model: nn.Module, context: CompressionContext, inputs: Tensor, targets: Tensor, settings: TrainingSettings,
    constraints: Constraints, optimizer: torch.optim.Optimizer, width: Width,
) -> float:
    problem = context.problem
    with torch.no_grad(), width():
        teacher = problem.flat(context.teach(inputs).float()) if settings.alpha else torch.empty(0)
    constraints.impose()
    with torch.enable_grad():
        with width():
            logits = model(inputs)
        loss = problem.training_loss(
            problem.flat(logits.float()), teacher, targets.flatten(),
            temperature=settings.temperature, alpha=settings.alpha, kind=settings.loss,
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    constraints.release()
    optimizer.step()
    return loss.item()


def _width(model: nn.Module, context: CompressionContext) -> Width:
    """Half width where the task allows it and the networks run in it: not all functions take operands of two types."""
    if not context.problem.reduced_precision:
        return contextlib.nullcontext
    try:
        with torch.no_grad(), _half_width():
            context.teach(context.example_input)
            model(context.example_input)
    except (RuntimeError, TypeError):
        return contextlib.nullcontext
    return _half_width


def _half_width() -> torch.autocast:
    """Products in bfloat16 where the processor has instructions for them: about twice as fast."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _batches(context: CompressionContext, epoch: int) -> Iterator[Batch]:
    batches = context.training_batches(epoch)
    most = context.problem.most_batches
    return batches if most is None else itertools.islice(batches, most)


def _batches_per_epoch(context: CompressionContext) -> int:
    whole = context.batches_per_epoch
    return min(whole, context.problem.most_batches or whole)


def _schedule(step: int, steps: int) -> float:
    warm_up = max(1, min(50, steps // 10))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, steps - warm_up))))
