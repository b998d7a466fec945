"""Recovery: what statistics and a short training bring back of the lost accuracy."""

from dataclasses import dataclass

import torch
from torch import nn

from compression.calibration.finish import finish_step
from compression.context import CompressionContext
from compression.knobs import knob, validate
from compression.layers import weight_layers
from compression.techniques.registry import register_technique
from compression.training import CrossEntropy, Distillation, TrainingPlan, fine_tune


@dataclass(frozen=True)
class RecoveryConfig:
    """Knobs of recovery."""

    epochs: float = knob(
        1.0, "Passes over the training split; 0 corrects statistics only.", low=0.0, high=20.0, step=0.5,
        unit="epochs", sweep=(0.0, 0.5, 1.0, 2.0, 3.0),
    )
    teacher: bool = knob(True, "Learn from the uncompressed model's outputs as well as from the targets.")
    learning_rate: float = knob(
        0.001, "Peak learning rate; it warms up and then falls to zero.", low=1e-6, high=0.5, step=0.0005
    )
    temperature: float = knob(
        4.0, "Softens the teacher's outputs.", low=1.0, high=20.0, step=0.5, advanced=True
    )
    alpha: float = knob(
        0.9, "Weight of the teacher against the targets.", low=0.0, high=1.0, step=0.05, unit="fraction",
        advanced=True,
    )
    optimizer: str = knob("adamw", "AdamW, or SGD with momentum.", choices=("adamw", "sgd"), advanced=True)
    max_batches: int = knob(
        0, "Batches per epoch at most, so that an epoch of a large split ends; 0 is 1000 of images, 200 of text.",
        low=0, high=100_000, step=50, advanced=True,
    )

    def __post_init__(self) -> None:
        validate(self, "recovery")


@register_technique(
    config_type=RecoveryConfig,
    key="recovery",
    title="Recovery",
    family="training",
    paper="Hinton et al. 2015",
    paper_url="https://arxiv.org/abs/1503.02531",
    main_knob="epochs",
    summary="Trains the compressed weights for a short while; masks, grids and codebooks hold.",
    helps="Neither smaller nor faster, but more accurate, so that a stronger setting becomes usable.",
    needs=frozenset({"training", "teacher", "calibration"}),
    order=90,
)
def recover(model: nn.Module, config: RecoveryConfig, context: CompressionContext) -> nn.Module:
    """Correct batch-norm statistics, then fine-tune in place under the model's compression state.

    Raises:
        CancelledError: if the user cancelled; the model then holds its best state so far.
    """
    before = {name: value.clone() for name, value in model.state_dict().items()}
    finish_step(model, context)
    if config.epochs:
        plan = TrainingPlan(
            config.epochs, config.learning_rate, optimizer=config.optimizer, max_batches=config.max_batches
        )
        objective = Distillation(config.temperature, config.alpha) if config.teacher else CrossEntropy()
        history = fine_tune(model, context, plan, objective, context.original if config.teacher else None)
        first, best = history[0], min(history, key=lambda record: record["held_out_loss"])
        context.report.notes.append(
            f"held-out accuracy {first['held_out_accuracy']:.2%} -> {best['held_out_accuracy']:.2%}, "
            f"loss {first['held_out_loss']:.3g} -> {best['held_out_loss']:.3g} after epoch {best['epoch']:g}"
        )
    after = model.state_dict()
    if any(not torch.equal(after[name], value) for name, value in before.items()):
        context.report.changed += [fqn for fqn, _ in weight_layers(model)] if config.epochs else ["statistics"]
    return model
