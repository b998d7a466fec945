"""Block sharing: repeated blocks use one set of weights."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.calibration.batch_norm import calibration_sample
from compression.calibration.finish import distance_from_original, finish_step
from compression.context import CompressionContext
from compression.core.errors import NotApplicableError
from compression.knobs import knob, validate
from compression.layers import selected_layers, weight_layers
from compression.state import state_of
from compression.structure.depth import repeated_blocks
from compression.techniques.registry import register_technique

_SAMPLES = 64


@dataclass(frozen=True)
class BlockSharingConfig:
    """Knobs of block sharing."""

    n_unique_blocks: int = knob(
        2, "Different sets of weights per run of blocks of one shape.", low=1, high=12, step=1, sweep=(3, 2, 1)
    )

    def __post_init__(self) -> None:
        validate(self, "block_sharing")


@register_technique(
    config_type=BlockSharingConfig,
    key="block_sharing",
    title="Block sharing",
    family="sharing",
    paper="Lan et al. 2019 (ALBERT)",
    paper_url="https://arxiv.org/abs/1909.11942",
    main_knob="n_unique_blocks",
    summary="Lets neighbouring blocks of the same shape use the same convolution and linear weights.",
    smaller="yes: one set of weights for several blocks. Costs much accuracy until recovery or distillation follows.",
    faster="no: every block is still computed.",
    formula=r"W^{(1)}=W^{(2)}=\dots=W^{(n)}",
    symbols="Convolution and linear weights of neighbouring blocks of one shape; each keeps its own norms and biases. "
    "Of the blocks' own weights and their mean, those that predict most like the original are taken.",
    example=({"technique": "block_sharing", "n_unique_blocks": 1},),
    needs=frozenset({"calibration"}),
    order=25,
    by_layer=False,
)
def share_blocks(model: nn.Module, config: BlockSharingConfig, context: CompressionContext) -> nn.Module:
    """Tie the weights of neighbouring blocks; norms stay their own.

    Raises:
        NotApplicableError: if no blocks repeat.
    """
    selected = {fqn for fqn, _ in selected_layers(model, context)}
    runs = [
        [block for name in run if _within(block := f"{fqn}.{name}".lstrip("."), model, selected)]
        for fqn, listed in repeated_blocks(model, lists=True).items() for run in listed
    ]
    if not any(len(run) > 1 for run in runs):
        raise NotApplicableError("it has no repeated blocks of one shape among the layers of the step")
    for run in runs:
        unique = min(config.n_unique_blocks, len(run))
        parts = [run[round(i * len(run) / unique) : round((i + 1) * len(run) / unique)] for i in range(unique)]
        for part in parts:
            if len(part) > 1:
                context.check_cancelled()
                _tie(model, part, context)
    if context.report.changed:
        finish_step(model, context)
    return model


def _within(block: str, model: nn.Module, selected: set[str]) -> bool:
    """Whether the step's include / exclude patterns leave all of a block's layers in."""
    return all(f"{block}.{fqn}" in selected for fqn, _ in weight_layers(model.get_submodule(block)))


def _tie(model: nn.Module, blocks: list[str], context: CompressionContext) -> None:
    """Give all blocks the values, of one of them or their mean, that predict most like the original."""
    layers = [[m for _, m in weight_layers(model.get_submodule(block))] for block in blocks]
    state = state_of(model)
    stacks = [torch.stack([own[i].weight.detach() for own in layers]) for i in range(len(layers[0]))]
    candidates = [[stack.mean(0) for stack in stacks]]
    candidates += [[stack[j] for stack in stacks] for j in range(len(blocks))]
    for i, first in enumerate(layers[0]):
        for own in layers[1:]:
            own[i].weight = first.weight
    best = min(candidates, key=lambda values: _try(model, layers[0], values, context))
    _set(layers[0], best)
    for block in blocks:
        for fqn, _ in weight_layers(model.get_submodule(block)):
            for table in (state.masks, state.encodings):
                table.pop(f"{block}.{fqn}.weight", None)
        context.report.changed.append(block)


def _set(layers: list[nn.Module], values: list[Tensor]) -> None:
    for layer, value in zip(layers, values, strict=True):
        layer.weight.data = value.clone()


@torch.inference_mode()
def _try(model: nn.Module, layers: list[nn.Module], values: list[Tensor], context: CompressionContext) -> float:
    _set(layers, values)
    return distance_from_original(model(calibration_sample(context)[:_SAMPLES]), context)
