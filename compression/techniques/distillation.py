"""Knowledge distillation: a student learns from the uncompressed model."""

from dataclasses import dataclass

import torch
from torch import nn

from compression.context import CompressionContext
from compression.core.errors import InputError
from compression.knobs import knob, validate
from compression.state import state_of
from compression.structure.depth import drop_every_other_block
from compression.techniques.registry import register_technique
from compression.training import TrainingSettings, fine_tune

_SAME_NETWORK = ("half_depth", "self")
_ORDER, _ORDER_OF_NEW_NETWORK = 30, 0


@dataclass(frozen=True)
class DistillationConfig:
    """Knobs of distillation."""

    temperature: float = knob(
        4.0, "Softens the teacher's predictions.", low=1.0, high=20.0, step=0.5, sweep=(1.0, 2.0, 4.0, 8.0)
    )
    alpha: float = knob(0.9, "Weight of the teacher against the labels.", low=0.0, high=1.0, step=0.05)
    student: str = knob(
        "half_depth", "Who learns: the network with every other repeated block left out, the network as the steps "
        "before left it (self), or one of the model's smaller students, which starts from random weights.",
        choices=_SAME_NETWORK, further="students",
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

    @property
    def order(self) -> int:
        """Place in the suggested order: a new network comes before all that acts on one."""
        return _ORDER if self.student in _SAME_NETWORK else _ORDER_OF_NEW_NETWORK


@register_technique(
    config_type=DistillationConfig,
    key="distillation",
    title="Knowledge distillation",
    family="training",
    paper="Hinton et al. 2015",
    paper_url="https://arxiv.org/abs/1503.02531",
    main_knob="temperature",
    summary="Trains a smaller student to predict what the uncompressed model predicts.",
    smaller="yes: the student has fewer or thinner layers.",
    faster="yes, for the same reason. Takes as long as training does.",
    formula=r"\begin{gathered}L=(1-\alpha)\,\mathrm{CE}(y,p_S)\\"
    r"+\,\alpha T^2\,\mathrm{KL}\bigl(p_T^{(T)}\,\Vert\,p_S^{(T)}\bigr)\end{gathered}",
    symbols=r"$p_T$, $p_S$: predictions of teacher and student, softened by the temperature $T$; $y$: the labels.",
    example=({"technique": "distillation", "epochs": 1},),
    needs=frozenset({"training", "teacher"}),
    order=_ORDER,
    by_layer=False,
)
def distill(model: nn.Module, config: DistillationConfig, context: CompressionContext) -> nn.Module:
    """Make the student and train it under the teacher's eyes.

    Later steps act on the student and compare with it. One of another architecture starts from random weights that
    follow from the seed, and leaves behind what steps before it did.

    Raises:
        InputError: if the model has no student of that name.
        NotApplicableError: if the network has no repeated blocks that could be left out.
    """
    if config.student == "half_depth":
        _halve_depth(model, context)
    elif config.student != "self":
        model = _new_student(model, config.student, context)
    settings = TrainingSettings(config.epochs, config.learning_rate, config.temperature, config.alpha, config.loss)
    return fine_tune(model, context, settings)


def _halve_depth(model: nn.Module, context: CompressionContext) -> None:
    removed = drop_every_other_block(model)
    state = state_of(model)
    for table in (state.masks, state.encodings, state.kept, state.input_scales, state.output_scales):
        for name in [n for n in table if any(n.startswith(f"{block}.") for block in removed)]:
            del table[name]
    context.report.replaced = True
    context.report.changed += removed
    context.report.notes.append(f"the student leaves out {len(removed)} blocks: {', '.join(removed)}")


def _new_student(model: nn.Module, name: str, context: CompressionContext) -> nn.Module:
    if name not in context.students:
        allowed = (*_SAME_NETWORK, *context.students)
        raise InputError("distillation.student", name, "allowed for this model: " + ", ".join(allowed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        student = context.students[name]().eval().requires_grad_(False)
    context.report.replaced = True
    context.report.changed.append(name)
    context.report.notes.append(f"the student is {name}, {_size(student):,} parameters from random weights")
    if not _equal(model, context.original):
        context.report.notes.append("what the steps before did is left behind with the network that they acted on")
    return student


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _equal(model: nn.Module, original: nn.Module) -> bool:
    ours, theirs = model.state_dict(), original.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
