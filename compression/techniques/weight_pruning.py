"""Unstructured weight pruning: individual weights are set to zero."""

from dataclasses import dataclass

import torch
from torch import nn

from compression.calibration.finish import finish_step
from compression.context import CompressionContext
from compression.knobs import knob, validate
from compression.layers import config_for, selected_layers
from compression.state import state_of
from compression.techniques.registry import register_technique


@dataclass(frozen=True)
class WeightPruningConfig:
    """Knobs of weight pruning."""

    sparsity: float = knob(
        0.5, "Fraction of weights set to zero.", low=0.0, high=0.99, step=0.01, unit="fraction",
        sweep=(0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98),
    )
    scope: str = knob(
        "global", "Rank all weights together, or within each layer.", choices=("global", "layer"), advanced=True
    )

    def __post_init__(self) -> None:
        validate(self, "weight_pruning")


@register_technique(
    config_type=WeightPruningConfig,
    key="weight_pruning",
    title="Weight pruning",
    family="pruning",
    paper="Han et al. 2015",
    paper_url="https://arxiv.org/abs/1506.02626",
    main_knob="sparsity",
    summary="Sets the weights of least magnitude to zero; the tensors keep their shapes.",
    helps="Smaller, because zeros are entropy-coded to almost nothing; not faster: no CPU runtime here skips them.",
    needs=frozenset(),
    order=40,
)
def prune_weights(model: nn.Module, config: WeightPruningConfig, context: CompressionContext) -> nn.Module:
    """Zero the smallest weights in place and remember the masks (Han et al., arXiv 1506.02626)."""
    layers = dict(selected_layers(model, context))
    state = state_of(model)
    if config.scope == "global" and layers:
        scores = torch.cat([layer.weight.detach().abs().flatten() for layer in layers.values()])
        keep = scores.numel() - round(config.sparsity * scores.numel())
        threshold = torch.sort(scores, descending=True).values[max(keep - 1, 0)]
    for fqn, layer in layers.items():
        own = config_for(fqn, config, context)
        if own.sparsity == 0:
            continue
        magnitude = layer.weight.detach().abs()
        if own.scope == "layer" or own != config:
            keep = max(1, magnitude.numel() - round(own.sparsity * magnitude.numel()))
            threshold = torch.sort(magnitude.flatten(), descending=True).values[keep - 1]
        mask = magnitude >= threshold
        previous = state.masks.get(f"{fqn}.weight")
        mask = mask if previous is None else mask & previous
        with torch.no_grad():
            layer.weight.mul_(mask)
        state.masks[f"{fqn}.weight"] = mask
        context.report.changed.append(fqn)
    if context.report.changed:
        finish_step(model, context)
    return model
