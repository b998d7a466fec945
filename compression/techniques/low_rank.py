"""Low-rank factorization: a layer is split into two thinner ones."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, original_hessians
from compression.context import CompressionContext
from compression.errors import NotApplicableError
from compression.knobs import knob, validate
from compression.layers import selected_layers
from compression.solvers.lowrank import allocate_ranks, factors, whitened_svd
from compression.state import state_of
from compression.structure.factorized import FactorizedConv2d, FactorizedLinear
from compression.techniques.registry import register_technique

_MULTIPLE = 4


@dataclass(frozen=True)
class LowRankConfig:
    """Knobs of low-rank factorization."""

    rank_ratio: float = knob(
        0.75, "Fraction of the weights kept in the layers that can be split.", low=0.05, high=1.0, step=0.05,
        unit="fraction", sweep=(0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
    )
    method: str = knob(
        "whitened", "Keep what matters for the weights (SVD) or for the layer's output (whitened SVD).",
        choices=("svd", "whitened"), advanced=True,
    )
    allocation: str = knob(
        "dynamic", "The same ratio in every layer, or ranks by dynamic programming under one budget.",
        choices=("uniform", "dynamic"), advanced=True,
    )

    def __post_init__(self) -> None:
        validate(self, "low_rank")


@dataclass
class _Candidate:
    """A layer with its decomposition and the ranks it may take; the last option leaves it whole."""

    fqn: str
    layer: nn.Conv2d | nn.Linear
    svd: tuple[Tensor, Tensor, Tensor]
    ranks: list[int]
    errors: np.ndarray
    costs: np.ndarray


@register_technique(
    config_type=LowRankConfig,
    key="low_rank",
    title="Low-rank factorization",
    family="factorization",
    paper="Wang et al. 2024 (SVD-LLM)",
    paper_url="https://arxiv.org/abs/2403.07378",
    main_knob="rank_ratio",
    summary="Splits a layer into two thinner ones whose product comes closest to it.",
    helps="Smaller and with fewer multiplications; faster where the layers are wide.",
    needs=frozenset({"calibration"}),
    order=20,
)
def factorize(model: nn.Module, config: LowRankConfig, context: CompressionContext) -> nn.Module:
    """Split layers under one budget of weights and correct the statistics.

    Raises:
        NotApplicableError: if no layer can be split with a gain.
    """
    if config.rank_ratio >= 1.0:
        return model
    candidates = [c for c in (_candidate(f, m, config, context) for f, m in selected_layers(model, context)) if c]
    if not candidates:
        raise NotApplicableError("no layer is large enough to gain from a split")
    chosen = _choose(candidates, config)
    for candidate, option in zip(candidates, chosen, strict=True):
        if option == len(candidate.ranks):
            context.report.skipped[candidate.fqn] = "whole within the budget: a split would cost more than it saves"
            continue
        _split(model, candidate, candidate.ranks[option])
        context.report.changed.append(candidate.fqn)
    if context.report.changed:
        kept = sum(c.costs[o] for c, o in zip(candidates, chosen, strict=True))
        share = kept / sum(c.costs[-1] for c in candidates)
        context.report.notes.append(f"{len(context.report.changed)} layers split, {share:.0%} of their weights kept")
        finish_step(model, context)
    return model


def _candidate(
    fqn: str, layer: nn.Conv2d | nn.Linear, config: LowRankConfig, context: CompressionContext
) -> _Candidate | None:
    weight = layer.weight.detach()
    outputs, inputs = weight.shape[0], weight[0].numel()
    largest = (outputs * inputs - 1) // (outputs + inputs)
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        context.report.skipped[fqn] = "a grouped convolution is not split"
        return None
    if largest < _MULTIPLE:
        context.report.skipped[fqn] = "too small: the two factors would be larger than the layer"
        return None
    hessian = original_hessians(context).get(fqn) if config.method == "whitened" else None
    usable = hessian is not None and hessian.shape[-1] == inputs
    svd = whitened_svd(weight.flatten(1), damped(hessian) if usable and hessian is not None else None)
    squares = svd[1].square().numpy()
    dropped = 1 - squares.cumsum() / max(squares.sum(), 1e-30)
    ranks = list(range(_MULTIPLE, largest + 1, _MULTIPLE))
    errors = np.array([max(0.0, dropped[r - 1]) for r in ranks] + [0.0])
    costs = np.array([r * (outputs + inputs) for r in ranks] + [outputs * inputs], dtype=float)
    return _Candidate(fqn, layer, svd, ranks, errors, costs)


def _choose(candidates: list[_Candidate], config: LowRankConfig) -> list[int]:
    """Option per layer; dropped energy relative to the layer's output makes layers comparable."""
    if config.allocation == "dynamic":
        budget = config.rank_ratio * sum(c.costs[-1] for c in candidates)
        return allocate_ranks([c.errors for c in candidates], [c.costs for c in candidates], budget)
    return [
        max((i for i, cost in enumerate(c.costs[:-1]) if cost <= config.rank_ratio * c.costs[-1]), default=0)
        for c in candidates
    ]


def _split(model: nn.Module, candidate: _Candidate, rank: int) -> None:
    first, second = factors(candidate.svd, rank)
    layer, fqn, state = candidate.layer, candidate.fqn, state_of(model)
    if isinstance(layer, nn.Conv2d):
        model.set_submodule(fqn, FactorizedConv2d(layer, first.reshape(rank, *layer.weight.shape[1:]), second))
    else:
        model.set_submodule(fqn, FactorizedLinear(layer, first, second))
    for table in (state.masks, state.encodings):
        table.pop(f"{fqn}.weight", None)
