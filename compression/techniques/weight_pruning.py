"""Unstructured weight pruning: individual weights are set to zero."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, fitting_hessian
from compression.context import CompressionContext
from compression.knobs import knob, validate
from compression.layers import config_for, selected_layers
from compression.other_weights import selected_weights, set_value
from compression.solvers.allocation import spread_budget
from compression.solvers.factors import remembered, upper_factor
from compression.solvers.gptq import grouped
from compression.solvers.reconstruction import output_error
from compression.solvers.sparsegpt import prune_with_feedback, refit_cost, refit_kept
from compression.state import state_of
from compression.techniques.registry import register_technique

_PATTERNS = {"2:4": (2, 4), "4:8": (4, 8)}
_LEVELS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.94, 0.97, 0.99, 1.0)
_MOST_CURVE_COST, _MOST_REFIT_COST = 10**9, 2 * 10**10


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
        "global", "Rank all weights together, or within each layer.", choices=("global", "layer"), advanced=True,
        by_layer=False,
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
    smaller="yes: in the packed file zeros are entropy-coded to almost nothing; the ONNX file stays as large.",
    faster="no: no CPU runtime here skips zeros.",
    formula=r"\begin{gathered}H=\tfrac{2}{N}XX^\top\\"
    r"w_q\to 0:\;\delta w=-\frac{w_q}{[H^{-1}]_{qq}}\,H^{-1}_{:,q}\end{gathered}",
    symbols=r"$X$: the layer's inputs on calibration data. A weight $w_q$ that goes changes the layer's output; those "
    r"that stay are moved by $\delta w$, which makes up for it as well as can be.",
    example=({"technique": "weight_pruning", "sparsity": 0.7},),
    needs=frozenset({"calibration"}),
    order=40,
)
def prune_weights(model: nn.Module, config: WeightPruningConfig, context: CompressionContext) -> nn.Module:
    """Choose weights, zero them in place, remember the masks and correct the statistics.

    Magnitude is Han et al. (arXiv 1506.02626), Wanda Sun et al. (arXiv 2306.11695).
    """
    configs = {fqn: config_for(fqn, config, context) for fqn, _ in selected_layers(model, context)}
    active = {fqn: c for fqn, c in configs.items() if c.sparsity > 0 or c.pattern != "none"}
    informed = all(fitting_hessian(fqn, model, context) is not None for fqn in active)  # else scales would be mixed
    together = {fqn: c for fqn, c in active.items() if c == config and c.scope == "global" and c.pattern == "none"}
    with_curves = informed and config.criterion == "sparsegpt"
    shares = {} if with_curves else _global_shares(together, model, context, informed)
    if with_curves and together:
        shares = _spread(together, model, context, config.sparsity)
    for fqn, own in active.items():
        context.check_cancelled()
        _prune_layer(fqn, own, shares.get(fqn, own.sparsity), model, context)
    _prune_others(model, config, context)
    if context.report.changed:
        _note_emptied(model, context)
        finish_step(model, context)
    return model


def _note_emptied(model: nn.Module, context: CompressionContext) -> None:
    """Name the layers that lost all their weights, which happens where one ranking is for all layers."""
    masks = state_of(model).masks
    emptied = [fqn for fqn in context.report.changed if f"{fqn}.weight" in masks and not masks[f"{fqn}.weight"].any()]
    if emptied:
        names = ", ".join(emptied[:4]) + (f" and {len(emptied) - 4} more" if len(emptied) > 4 else "")
        context.report.notes.append(
            f"all weights of {names} are zero: what the network computes no longer depends on what these layers are "
            "given; scope 'layer' prunes every layer by the same share"
        )


def _weight(fqn: str, model: nn.Module) -> Tensor:
    return model.get_parameter(f"{fqn}.weight").detach()


def _spread(
    configs: dict[str, WeightPruningConfig], model: nn.Module, context: CompressionContext, sparsity: float
) -> dict[str, float]:
    """Sparsity of each layer for the least sum of relative output errors, each measured at several sparsities.

    A ranking of single weights by what each costs alone would empty redundant layers: together they cost more.
    """
    curves = []
    for fqn in configs:
        context.check_cancelled()
        errors = _error_curve(_weight(fqn, model), fitting_hessian(fqn, model, context))
        curves.append(list(zip(_LEVELS, errors, strict=True)))
    sizes = [_weight(fqn, model).numel() for fqn in configs]
    return dict(zip(configs, spread_budget(curves, sizes, sparsity), strict=True))


def _error_curve(weight: Tensor, hessian: Tensor | None) -> list[float]:
    """Output error relative to the output's energy at each of the levels; 1 where all weights are gone."""
    assert hessian is not None
    name = "pruning " + hashlib.sha256(weight.numpy().tobytes()).hexdigest()
    return remembered(hessian, name, lambda h: _measured_curve(weight, h))


def _measured_curve(weight: Tensor, hessian: Tensor) -> list[float]:
    rows, batched = grouped(weight.double(), damped(hessian))
    rows = rows[:, :: -(-rows.shape[1] * rows.shape[2] ** 2 // _MOST_CURVE_COST)]  # of a large layer some outputs
    upper = upper_factor(batched)
    energy = max(float(output_error(rows, batched).sum()), 1e-30)
    kept = [prune_with_feedback(rows, batched, level, upper=upper) for level in _LEVELS[1:-1]]
    return [0.0, *(float(output_error(own - rows, batched).sum()) / energy for own in kept), 1.0]


def _global_shares(
    configs: dict[str, WeightPruningConfig], model: nn.Module, context: CompressionContext, informed: bool
) -> dict[str, float]:
    """Share of each layer's weights among the lowest scores of all layers together."""
    scores = {fqn: _scores(fqn, model, own, context, informed) for fqn, own in configs.items()}
    if not scores:
        return {}
    ranked = torch.cat([s.flatten() for s in scores.values()]).sort().values
    sparsity = next(iter(configs.values())).sparsity
    threshold = ranked[min(round(sparsity * len(ranked)), len(ranked) - 1)]
    return {fqn: float((own < threshold).double().mean()) for fqn, own in scores.items()}


def _scores(
    fqn: str, model: nn.Module, config: WeightPruningConfig, context: CompressionContext, informed: bool = True
) -> Tensor:
    """Importance of each weight, shaped as the weight."""
    weight = _weight(fqn, model).double()
    hessian = fitting_hessian(fqn, model, context) if informed and config.criterion != "magnitude" else None
    if hessian is None:
        return weight.abs()
    rows, batched = grouped(weight, damped(hessian))
    return (rows.abs() * torch.diagonal(batched, dim1=1, dim2=2)[:, None].sqrt()).reshape(weight.shape)


def _prune_layer(
    fqn: str, config: WeightPruningConfig, sparsity: float, model: nn.Module, context: CompressionContext
) -> None:
    state, name, weight = state_of(model), f"{fqn}.weight", _weight(fqn, model)
    pattern, previous = _PATTERNS.get(config.pattern), state.masks.get(name)
    hessian = fitting_hessian(fqn, model, context) if config.criterion == "sparsegpt" else None
    if hessian is not None:
        rows, batched = grouped(weight, damped(hessian))
        zeros = None if previous is None else grouped(~previous, damped(hessian))[0]
        solved = prune_with_feedback(rows, batched, sparsity, pattern, fixed=zeros)
        kept = solved != 0
        if refit_cost(kept) <= _MOST_REFIT_COST:
            solved = refit_kept(rows, batched, kept)
        pruned, mask = solved.reshape(weight.shape).float(), kept.reshape(weight.shape)
    else:
        scores = _scores(fqn, model, config, context)
        mask = _pattern_mask(scores, pattern) if pattern is not None else _keep_largest(scores, sparsity)
        mask = mask if previous is None else mask & previous
        pruned = weight * mask
    model.get_submodule(fqn).weight.data = pruned
    state.masks[name] = mask
    state.encodings.pop(name, None)
    context.report.changed.append(fqn)


def _prune_others(model: nn.Module, config: WeightPruningConfig, context: CompressionContext) -> None:
    """Recurrent layers and the like, each by the size of its weights."""
    state = state_of(model)
    for weight, value, own in selected_weights(model, config, context):
        if own.sparsity == 0 and own.pattern == "none":
            continue
        pattern, previous = _PATTERNS.get(own.pattern), state.masks.get(weight.name)
        scores = value.abs()
        mask = _pattern_mask(scores, pattern) if pattern is not None else _keep_largest(scores, own.sparsity)
        mask = mask if previous is None else mask & previous
        set_value(model, weight, value * mask, context)
        state.masks[weight.name] = mask
        state.encodings.pop(weight.name, None)


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
