"""The validation curve of a training, and the best state on it."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from compression.calibration.batch_norm import takes_channels_last
from compression.calibration.batches import batch_for
from compression.context import CompressionContext
from compression.state import state_of
from compression.training.settings import TrainingSettings

_BATCH = 64
_AFTER_BATCHES = 200


class Validation:
    """Scores a model on held-out samples of the training split while it learns, and keeps its best state.

    The best is the most accurate one; of equally accurate ones that of the lowest held-out loss, and of these the
    first. The rule is the same with a teacher and without.

    Args:
        model: Scored as it is whenever `look` is called.
        context: Its `held_out` samples are used; curve and best epoch go into its report.
        settings: Of the training, for the held-out loss.
    """

    def __init__(self, model: nn.Module, context: CompressionContext, settings: TrainingSettings) -> None:
        self._model, self._context, self._settings = model, context, settings
        held_out = context.held_out or (context.calibration_inputs, context.calibration_targets)
        self._inputs, self._targets = held_out[0], held_out[1].flatten()
        self._channels_last = self._inputs.ndim == 4 and self._all_take_channels_last()
        with torch.inference_mode():
            self._teacher = torch.cat([context.problem.flat(context.teach(batch)) for batch in self._batches()])
        self._best: tuple[float, float] | None = None
        self._state: dict[str, Tensor] = {}
        self._encodings: dict[str, object] = {}

    def look(self, epoch: float, losses: list[float]) -> None:
        """Evaluate the model and remember its state if none before was better.

        Args:
            epoch: Epochs done; 0 before the first batch.
            losses: Training losses since the last look.
        """
        record = {"epoch": epoch, **({"loss": sum(losses) / len(losses)} if losses else {}), **self._scores()}
        report = self._context.report
        report.history.append({name: value for name, value in record.items() if math.isfinite(value)})
        report.epochs_done = epoch
        rank = (record["accuracy"], -record["held_out_loss"])
        if self._best is None or rank > self._best:
            self._best, report.kept_epoch = rank, epoch
            self._state = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}
            self._encodings = dict(state_of(self._model).encodings)
        self._context.evaluated(report)

    def restore(self) -> None:
        """Put the best state back into the model."""
        self._model.load_state_dict(self._state)
        state_of(self._model).encodings = dict(self._encodings)  # type: ignore[arg-type]

    @torch.inference_mode()
    def _scores(self) -> dict[str, float]:
        training = self._model.training
        self._model.eval()
        problem = self._context.problem
        outputs = torch.cat([problem.flat(self._model(batch)) for batch in self._batches()]).float()
        self._model.train(training)
        settings = self._settings
        loss = problem.training_loss(
            outputs, self._teacher, self._targets, temperature=settings.temperature, alpha=settings.alpha,
            kind=settings.loss,
        )
        return {
            "held_out_loss": float(loss),
            "accuracy": problem.quality_of(outputs, self._targets),
            "agreement": problem.agreement(outputs, self._teacher),
        }

    def _batches(self) -> Iterator[Tensor]:
        for batch in self._inputs.split(batch_for(self._inputs.shape[1:], _BATCH)):
            yield batch.contiguous(memory_format=torch.channels_last) if self._channels_last else batch

    def _all_take_channels_last(self) -> bool:
        """Whether teacher and model run on images in this layout, which is faster on a CPU."""
        training, sample = self._model.training, self._inputs[:1]
        self._model.eval()
        try:
            return all(takes_channels_last(network, sample) for network in (self._context.teach, self._model))
        finally:
            self._model.train(training)


def looks_within(batches: int) -> list[int]:
    """After which batches of an epoch to look: at its end, and in a long epoch about every 200 batches."""
    looks = max(1, round(batches / _AFTER_BATCHES))
    return [round(batches * (number + 1) / looks) for number in range(looks)]
