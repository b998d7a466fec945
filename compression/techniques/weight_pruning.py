"""Unstructured weight pruning: individual weights are set to zero."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, fitting_hessian
from compression.context import CompressionContext
from compression.knobs import knob, validate
from compression.layers import config_for, selected_layers
from compression.solvers.gptq import grouped
from compression.solvers.sparsegpt import prune_with_feedback, refit_kept, saliency
from compression.state import state_of
from compression.techniques.registry import register_technique

_PATTERNS = {"2:4": (2, 4), "4:8": (4, 8)}


@dataclass(frozen=True)
class WeightPruningConfig:
    """Knobs of weight pruning."""

    sparsity: float = knob(
        0.5, "Fraction of weights set to zero.", low=0.0, high=0.99, step=0.01, unit="fraction",
        sweep=(0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98),
    )
    criterion: str = knob(
        "sparsegpt", "Rank weights by size, by size times input (Wanda), or remove them with feedback (SparseGPT).",
        choices=("magnitude", "wanda", "sparsegpt"), advanced=True,
    )
    scope: str = knob(
        "global", "Rank all weights together, or within each layer.", choices=("global", "layer"), advanced=True
    )
    pattern: str = knob(
        "none", "Keep 2 of 4 or 4 of 8 consecutive inputs instead of a free choice; sets the sparsity to one half.",
        choices=("none", "2:4", "4:8"), advanced=True,
    )

    def __post_init__(self) -> None:
        validate(self, "weight_pruning")


@register_technique(
    config_type=WeightPruningConfig,
    key="weight_pruning",
    title="Weight pruning",
    family="pruning",
    paper="Frantar and Alistarh 2023 (SparseGPT)",
    paper_url="https://arxiv.org/abs/2301.00774",
    main_knob="sparsity",
    summary="Sets single weights to zero; the tensors keep their shapes.",
    helps="Smaller, because zeros are entropy-coded to almost nothing; not faster: no CPU runtime here skips them.",
    needs=frozenset({"calibration"}),
    order=40,
)
def prune_weights(model: nn.Module, config: WeightPruningConfig, context: CompressionContext) -> nn.Module:
    """Choose weights, zero them in place, remember the masks and correct the statistics.

    Magnitude is Han et al. (arXiv 1506.02626), Wanda Sun et al. (arXiv 2306.11695).
    """
    layers = dict(selected_layers(model, context))
    configs = {fqn: config_for(fqn, config, context) for fqn in layers}
    active = {fqn: c for fqn, c in configs.items() if c.sparsity > 0 or c.pattern != "none"}
    informed = all(_hessian(fqn, layers[fqn], context) is not None for fqn in active)  # else scales would be mixed
    scores = {fqn: _scores(fqn, layers[fqn], active[fqn], context, informed) for fqn in active}
    together = [fqn for fqn, c in active.items() if c == config and c.scope == "global" and c.pattern == "none"]
    threshold = _threshold([scores[fqn] for fqn in together], config.sparsity)
    for fqn, own in active.items():
        context.check_cancelled()
        shares = scores[fqn] < threshold if fqn in together else None
        sparsity = own.sparsity if shares is None else float(shares.double().mean())
        _prune_layer(fqn, layers[fqn], scores[fqn], own, sparsity, model, context)
    if context.report.changed:
        finish_step(model, context)
    return model


def _hessian(fqn: str, layer: nn.Module, context: CompressionContext) -> Tensor | None:
    return fitting_hessian(fqn, layer, context)


def _scores(
    fqn: str, layer: nn.Module, config: WeightPruningConfig, context: CompressionContext, informed: bool
) -> Tensor:
    """Importance of each weight, shaped as the weight; with SparseGPT relative to the energy of the layer's output,
    which makes layers comparable (by loss gradients, K-FAC's Fisher information, it came out far worse).
    """
    weight = layer.weight.detach().double()
    hessian = _hessian(fqn, layer, context) if informed and config.criterion != "magnitude" else None
    if hessian is None:
        return weight.abs()
    rows, batched = grouped(weight, damped(hessian))
    if config.criterion == "wanda":
        return (rows.abs() * torch.diagonal(batched, dim1=1, dim2=2)[:, None].sqrt()).reshape(weight.shape)
    energy = ((rows @ batched) * rows).sum().clamp(min=1e-30)
    return (saliency(rows, batched) / energy).reshape(weight.shape)


def _threshold(scores: list[Tensor], sparsity: float) -> float:
    """Score below which a weight is among the share to remove, all layers together."""
    if not scores:
        return 0.0
    ranked = torch.cat([s.flatten() for s in scores]).sort().values
    return float(ranked[min(round(sparsity * len(ranked)), len(ranked) - 1)])


def _prune_layer(
    fqn: str, layer: nn.Module, scores: Tensor, config: WeightPruningConfig, sparsity: float, model: nn.Module,
    context: CompressionContext,
) -> None:
    state, name, weight = state_of(model), f"{fqn}.weight", layer.weight.detach()
    pattern = _PATTERNS.get(config.pattern)
    hessian = _hessian(fqn, layer, context) if config.criterion == "sparsegpt" else None
    if hessian is not None:
        rows, batched = grouped(weight, damped(hessian))
        kept = prune_with_feedback(rows, batched, sparsity, pattern) != 0
        pruned = refit_kept(rows, batched, kept).reshape(weight.shape).float()
        mask = kept.reshape(weight.shape)
    else:
        mask = _pattern_mask(scores, pattern) if pattern is not None else _keep_largest(scores, sparsity)
        pruned = weight * mask
    previous = state.masks.get(name)
    mask = mask if previous is None else mask & previous
    layer.weight.data = pruned * mask
    state.masks[name] = mask
    state.encodings.pop(name, None)
    context.report.changed.append(fqn)


def _keep_largest(scores: Tensor, sparsity: float) -> Tensor:
    mask = torch.ones(scores.numel(), dtype=torch.bool)
    mask[torch.topk(scores.flatten(), round(sparsity * scores.numel()), largest=False).indices] = False
    return mask.reshape(scores.shape)


def _pattern_mask(scores: Tensor, pattern: tuple[int, int]) -> Tensor:
    """Largest n of each m consecutive inputs; the rest at the end of a row is kept."""
    keep, of = pattern
    rows = scores.flatten(1)
    whole = rows.shape[1] // of * of
    mask = torch.ones_like(rows, dtype=torch.bool)
    blocks = rows[:, :whole].unflatten(1, (-1, of))
    lowest = torch.topk(blocks, of - keep, dim=-1, largest=False).indices
    mask[:, :whole] = torch.ones_like(blocks, dtype=torch.bool).scatter(-1, lowest, False).flatten(1)
    return mask.reshape(scores.shape)
