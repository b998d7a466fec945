"""Fine-tuning under masks, grids and codebooks, with or without a teacher."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from compression.context import Batch, CompressionContext
from compression.training.objectives import CrossEntropy, Objective
from compression.training.weights import TrainedWeights

_AUTOMATIC_BATCHES = {"language_modeling": 200}
_MOST_BATCHES = 1000
_HELD_OUT_BATCH = 64
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPlan:
    """How long and how fast to train.

    Attributes:
        epochs: Passes over the training split; fractions are allowed.
        learning_rate: Peak, after a linear warm-up over a tenth of the steps; then a cosine to zero.
        optimizer: "adamw" or "sgd" (momentum 0.9).
        weight_decay: Decoupled for AdamW.
        clip: Largest norm of the gradient.
        max_batches: Batches per epoch at most; 0 is 1,000 of images and 200 of text.
    """

    epochs: float
    learning_rate: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    clip: float = 1.0
    max_batches: int = 0


def fine_tune(
    model: nn.Module,
    context: CompressionContext,
    plan: TrainingPlan,
    objective: Objective | None = None,
    teacher: nn.Module | None = None,
) -> list[dict[str, float]]:
    """Train a compressed model in place; masks, grids, codebooks and tied weights hold at the end, bit by bit.

    The state of the epoch with the least loss on held-out data of the training split is kept, that before the
    training included. A cancelled training leaves the best state so far behind.

    Args:
        model: With its `CompressionState`; left in eval mode.
        context: Batches, seed, progress; the curve is appended to ``context.report.history``.
        plan: Length and speed.
        objective: ``(logits, teacher's logits or None, targets) -> loss``; cross-entropy by default.
        teacher: Sees the same crops as the model; never changed.

    Returns:
        One record per evaluation: epoch, loss, held_out_loss, held_out_accuracy, learning_rate, seconds.

    Raises:
        CancelledError: if the user cancelled.
    """
    run = _Run(model, context, plan, objective or CrossEntropy(), teacher)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        try:
            run.train()
        finally:
            run.weights.restore(run.best)
            run.weights.write_back()
            model.eval()
    return run.history


class _Run:
    def __init__(
        self, model: nn.Module, context: CompressionContext, plan: TrainingPlan, objective: Objective,
        teacher: nn.Module | None,
    ) -> None:
        self.model, self.context, self.plan = model, context, plan
        self.objective, self.teacher = objective, teacher
        self.weights = TrainedWeights(model, context.original)
        self.history: list[dict[str, float]] = context.report.history
        self.per_epoch = batches_per_epoch(context, plan)
        self.steps = max(1, round(plan.epochs * self.per_epoch))
        self.bfloat16 = _runs_bfloat16()
        self.best = self.weights.snapshot()
        self.least = math.inf
        self.started = time.perf_counter()

    def train(self) -> None:
        optimizer = self._optimizer()
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, self.steps))
        total, count = 0.0, 0
        self._evaluate(0, math.nan, 0.0)
        for step, (inputs, targets) in enumerate(self._batches(), start=1):
            self.context.check_cancelled()
            loss = self._step(inputs, targets, optimizer)
            total, count = total + loss, count + 1
            rate = schedule.get_last_lr()[0]
            schedule.step()
            epoch = step / self.per_epoch
            message = f"epoch {epoch:.2f} of {self.plan.epochs:g}, loss {total / count:.3f}"
            self.context.progress(step / self.steps, message)
            if step % self.per_epoch == 0 or step == self.steps:
                self._evaluate(step, total / count, rate)
                total, count = 0.0, 0

    def _step(self, inputs: Tensor, targets: Tensor, optimizer: torch.optim.Optimizer) -> float:
        if inputs.ndim == 4:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        self.model.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bfloat16):
            wanted = None
            if self.teacher is not None:
                with torch.no_grad():
                    wanted = self.teacher(inputs).float()
            logits = self.weights.forward(inputs).float()
        loss = self.objective(logits, wanted, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights.parameters(), self.plan.clip)
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def _evaluate(self, step: int, loss: float, rate: float) -> None:
        """Score on held-out samples; remember the best state."""
        self.model.eval()
        inputs, targets = held_out(self.context)
        total, correct = 0.0, 0
        for start in range(0, len(inputs), _HELD_OUT_BATCH):
            x, y = inputs[start : start + _HELD_OUT_BATCH], targets[start : start + _HELD_OUT_BATCH]
            logits = self.weights.forward(x).float()
            wanted = None if self.teacher is None else self.teacher(x).float()
            total += float(self.objective(logits, wanted, y)) * len(x)
            correct += int((logits.argmax(-1) == y).sum())
        found = total / len(inputs)
        record = {
            "epoch": step / self.per_epoch, "loss": loss, "held_out_loss": found,
            "held_out_accuracy": correct / targets.numel(), "learning_rate": rate,
            "seconds": time.perf_counter() - self.started,
        }
        self.history.append(record)
        _log.info("fine-tuning: %s", record)
        if found < self.least:
            self.least, self.best = found, self.weights.snapshot()

    def _batches(self) -> Iterator[Batch]:
        left, epoch = self.steps, 0
        while left > 0:
            taken = 0
            for batch in islice(self.context.training_batches(epoch), min(left, self.per_epoch)):
                taken += 1
                yield batch
            if not taken:
                return
            left, epoch = left - taken, epoch + 1

    def _optimizer(self) -> torch.optim.Optimizer:
        options: dict[str, Any] = {"lr": self.plan.learning_rate, "weight_decay": self.plan.weight_decay}
        if self.plan.optimizer == "sgd":
            return torch.optim.SGD(self.weights.parameters(), momentum=0.9, nesterov=True, **options)
        return torch.optim.AdamW(self.weights.parameters(), betas=(0.9, 0.98), **options)


def batches_per_epoch(context: CompressionContext, plan: TrainingPlan) -> int:
    """Training batches that count as one epoch."""
    most = plan.max_batches or _AUTOMATIC_BATCHES.get(context.task, _MOST_BATCHES)
    known = context.n_training_batches
    if known is None:
        known = sum(1 for _ in islice(context.training_batches(0), most))
    return max(1, min(known, most))


def held_out(context: CompressionContext) -> Batch:
    """Samples of the training split that choose the best epoch: held out of the batches where the context says so."""
    if context.validation is not None:
        return context.validation
    return context.calibration_inputs, context.calibration_targets


def _rate(step: int, steps: int) -> float:
    warm_up = max(1, steps // 10)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def _runs_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16; elsewhere autocast would only be slower."""
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
