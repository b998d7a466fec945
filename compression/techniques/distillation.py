"""Knowledge distillation: a student learns from the uncompressed model."""

from dataclasses import dataclass

from torch import nn

from compression.context import CompressionContext
from compression.knobs import knob, validate
from compression.state import state_of
from compression.structure.depth import drop_every_other_block
from compression.techniques.registry import register_technique
from compression.training import TrainingSettings, fine_tune


@dataclass(frozen=True)
class DistillationConfig:
    """Knobs of distillation."""

    temperature: float = knob(
        4.0, "Softens the teacher's predictions.", low=1.0, high=20.0, step=0.5, sweep=(1.0, 2.0, 4.0, 8.0)
    )
    alpha: float = knob(0.9, "Weight of the teacher against the labels.", low=0.0, high=1.0, step=0.05)
    student: str = knob(
        "half_depth", "Who learns: the network with every other repeated block left out, or the network as the steps "
        "before left it.", choices=("half_depth", "self"),
    )
    epochs: int = knob(
        3, "Passes over the training split (of text at most 400 batches each).", low=1, high=50, step=1
    )
    learning_rate: float = knob(
        0.002, "Peak learning rate of AdamW.", low=0.00001, high=0.1, step=0.0005, advanced=True
    )
    loss: str = knob(
        "kd", "Plain distillation, or with target and other classes decoupled.", choices=("kd", "decoupled"),
        advanced=True,
    )

    def __post_init__(self) -> None:
        validate(self, "distillation")


@register_technique(
    config_type=DistillationConfig,
    key="distillation",
    title="Knowledge distillation",
    family="training",
    paper="Hinton et al. 2015",
    paper_url="https://arxiv.org/abs/1503.02531",
    main_knob="temperature",
    summary="Trains a smaller student to predict what the uncompressed model predicts.",
    helps="Smaller and faster, because the student has fewer layers. Takes as long as training does.",
    needs=frozenset({"training", "teacher"}),
    order=30,
)
def distill(model: nn.Module, config: DistillationConfig, context: CompressionContext) -> nn.Module:
    """Make the student and train it under the teacher's eyes.

    Raises:
        NotApplicableError: if the network has no repeated blocks that could be left out.
    """
    if config.student == "half_depth":
        removed = drop_every_other_block(model)
        state = state_of(model)
        for table in (state.masks, state.encodings, state.kept):
            for name in [n for n in table if any(n.startswith(f"{block}.") for block in removed)]:
                del table[name]
        context.report.changed += removed
        context.report.notes.append(f"the student leaves out {len(removed)} blocks: {', '.join(removed)}")
    settings = TrainingSettings(config.epochs, config.learning_rate, config.temperature, config.alpha, config.loss)
    return fine_tune(model, context, settings)
