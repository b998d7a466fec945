"""Recovery: a short fine-tuning that keeps what the steps before it did."""

from dataclasses import dataclass

from torch import nn

from compression.calibration.finish import finish_step
from compression.context import CompressionContext
from compression.knobs import knob, validate
from compression.techniques.registry import register_technique
from compression.training import TrainingSettings, fine_tune


@dataclass(frozen=True)
class RecoveryConfig:
    """Knobs of recovery."""

    epochs: int = knob(
        1, "Passes over the training split (of text at most 400 batches each); 0 corrects statistics only.", low=0,
        high=30, step=1, sweep=(0, 1, 2, 3),
    )
    teacher: bool = knob(True, "Learn from the uncompressed model's predictions too, not from the labels alone.")
    learning_rate: float = knob(
        0.001, "Peak learning rate of AdamW.", low=0.00001, high=0.1, step=0.0005, advanced=True
    )
    temperature: float = knob(4.0, "Softens the teacher's predictions.", low=1.0, high=20.0, step=0.5, advanced=True)
    alpha: float = knob(0.9, "Weight of the teacher against the labels.", low=0.0, high=1.0, step=0.05, advanced=True)

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
    summary="Trains the compressed model a little, with its pruned weights at zero and all others on their grids.",
    smaller="no: it wins accuracy back at the same size. Takes as long as training does.",
    faster="no.",
    formula=r"\begin{gathered}L\bigl(M\odot Q(W)\bigr)\to\min\\"
    r"\frac{\partial L}{\partial W}:=\frac{\partial L}{\partial Q(W)}\end{gathered}",
    symbols=r"$M$: the weights that are left; $Q$: their grid or codebook, through which the gradient is passed "
    r"straight; $L$: the loss of distillation, with the uncompressed model as the teacher.",
    example=({"technique": "weight_pruning", "sparsity": 0.95}, {"technique": "recovery", "epochs": 1}),
    needs=frozenset({"training", "teacher"}),
    order=90,
    by_layer=False,
)
def recover(model: nn.Module, config: RecoveryConfig, context: CompressionContext) -> nn.Module:
    """Fine-tune under masks, grids and codebooks (straight-through estimator, Bengio et al., arXiv 1308.3432)."""
    if config.epochs == 0:
        finish_step(model, context)
        return model
    alpha = config.alpha if config.teacher else 0.0
    settings = TrainingSettings(config.epochs, config.learning_rate, config.temperature, alpha)
    return fine_tune(model, context, settings)
