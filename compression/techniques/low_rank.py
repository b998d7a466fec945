"""Low-rank factorization: a layer is split into two or three thinner ones."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, fitting_hessian
from compression.context import CompressionContext
from compression.core.errors import NotApplicableError
from compression.knobs import knob, validate
from compression.layers import config_for, is_conv2d, selected_layers
from compression.other_weights import report_others
from compression.solvers.lowrank import allocate_ranks, factors, whitened_svd
from compression.solvers.tucker import tucker2, tucker2_factors
from compression.state import state_of
from compression.structure.ends import read_elsewhere
from compression.structure.factorized import FactorizedConv2d, FactorizedLinear, TuckerConv2d, factorized_layers
from compression.techniques.registry import register_technique

_WHOLE = {
    "dynamic": "whole within the budget: the weights are better saved elsewhere",
    "energy": "whole: no split that saves weights holds enough of its output",
}
_MULTIPLE = 4
_STEPS = 16


@dataclass(frozen=True)
class LowRankConfig:
    """Knobs of low-rank factorization."""

    rank_ratio: float = knob(
        0.75, "Fraction of the weights kept in the layers that can be split.", low=0.05, high=1.0, step=0.05,
        unit="fraction", sweep=(0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2),
    )
    method: str = knob(
        "best", "Keep what matters for the weights (SVD) or for the layer's output (whitened SVD); split k x k "
        "kernels over their channels (Tucker-2), or each as it costs least (best).",
        choices=("svd", "whitened", "tucker", "best"), advanced=True,
    )
    allocation: str = knob(
        "dynamic", "The same ratio in every layer, ranks by dynamic programming under one budget, or as many ranks as "
        "hold a share of each layer's output energy (then the rank ratio is not used).",
        choices=("uniform", "dynamic", "energy"), advanced=True,
    )
    energy: float = knob(
        0.98, "Share of each layer's output energy that is kept when ranks are chosen by energy.", low=0.5, high=1.0,
        step=0.01, unit="fraction", advanced=True,
    )

    def __post_init__(self) -> None:
        validate(self, "low_rank")


@dataclass(frozen=True)
class _Option:
    """One way to split a layer: one rank (SVD), an inner and an outer one (Tucker-2), or none (left whole)."""

    ranks: tuple[int, ...]
    error: float
    cost: float


@dataclass
class _Candidate:
    """A layer, its knobs, Hessian (not damped) and SVD, and what can be made of it; the last option leaves it whole."""

    fqn: str
    layer: nn.Conv2d | nn.Linear
    config: LowRankConfig
    hessian: Tensor | None
    svd: tuple[Tensor, Tensor, Tensor]
    options: list[_Option]


@register_technique(
    config_type=LowRankConfig,
    key="low_rank",
    title="Low-rank factorization",
    family="factorization",
    paper="Wang et al. 2024 (SVD-LLM)",
    paper_url="https://arxiv.org/abs/2403.07378",
    main_knob="rank_ratio",
    summary="Splits a layer into two thinner ones whose product comes closest to it.",
    smaller="yes, where the factors hold fewer weights than the layer: r(m + n) < mn.",
    faster="where layers are wide; in narrow ones two small products take as long as one.",
    formula=r"\begin{gathered}H+\lambda I=SS^\top,\quad WS\approx U_r\Sigma_rV_r^\top\\"
    r"W\approx(U_r\Sigma_r)\,(V_r^\top S^{-1})\end{gathered}",
    symbols=r"$W$: the layer's weights, $m \times n$; $r$: the rank that is kept; $H$: the second moments of its "
    r"inputs, so that what is dropped matters least for its output.",
    example=({"technique": "low_rank", "rank_ratio": 0.3},),
    needs=frozenset({"calibration"}),
    order=20,
)
def factorize(model: nn.Module, config: LowRankConfig, context: CompressionContext) -> nn.Module:
    """Split layers under one budget of weights and correct the statistics.

    Raises:
        NotApplicableError: if no layer can be split with a gain.
    """
    if _keeps_all(config) and not context.overrides:
        return model
    split = tuple(f"{fqn}." for fqn in factorized_layers(model))
    elsewhere = read_elsewhere(model, context.example_input)
    candidates, kept_whole, layers = [], 0, list(selected_layers(model, context))
    for fqn, layer in layers:
        if fqn in elsewhere:
            context.report.skipped[fqn] = "its weight is also read outside the layer"
        elif split and fqn.startswith(split):
            context.report.skipped[fqn] = "part of a layer that was split before"
        elif _keeps_all(own := config_for(fqn, config, context)):
            context.report.skipped[fqn] = "all its weights are to be kept"
            kept_whole += 1
        elif candidate := _candidate(fqn, layer, model, own, context):
            candidates.append(candidate)
    report_others(model, context, "the weights of a {kind} are not split")
    if layers and kept_whole == len(layers):
        return model
    if not candidates:
        raise NotApplicableError("no layer is large enough to gain from a split")
    whole, kept, ranks = 0.0, 0.0, []
    for candidate, option in zip(candidates, _choose(candidates, config), strict=True):
        whole, kept = whole + candidate.options[-1].cost, kept + option.cost
        if not option.ranks:
            context.report.skipped[candidate.fqn] = _WHOLE[candidate.config.allocation]
            continue
        context.check_cancelled()
        _split(model, candidate, option.ranks)
        context.report.changed.append(candidate.fqn)
        ranks.append(f"{candidate.fqn} {' and '.join(map(str, option.ranks))}")
    if ranks:
        context.report.notes.append(f"{len(ranks)} layers split, {100 * kept / whole:.0f} % of their weights kept")
        context.report.notes.append("ranks: " + ", ".join(ranks))
        finish_step(model, context)
    return model


def _keeps_all(config: LowRankConfig) -> bool:
    return config.rank_ratio >= 1.0 and config.allocation != "energy"


def _candidate(
    fqn: str, layer: nn.Conv2d | nn.Linear, model: nn.Module, config: LowRankConfig, context: CompressionContext
) -> _Candidate | None:
    weight = layer.weight.detach()
    outputs, inputs = weight.shape[0], weight[0].numel()
    if is_conv2d(layer) and layer.groups > 1:
        context.report.skipped[fqn] = "a grouped convolution is not split"
        return None
    hessian = fitting_hessian(fqn, model, context) if config.method != "svd" else None
    svd = whitened_svd(weight.flatten(1), _metric(hessian))
    kernel = is_conv2d(layer) and weight[0, 0].numel() > 1 and min(weight.shape[:2]) > _MULTIPLE
    tucker = kernel and config.method in ("tucker", "best")
    options = [] if config.method == "tucker" and tucker else _svd_options(svd[1], outputs, inputs)
    if tucker:
        options += _tucker_options(weight, hessian)
    options = [option for option in options if option.cost < weight.numel()]
    if not options:
        context.report.skipped[fqn] = "too small: the factors would be larger than the layer"
        return None
    return _Candidate(fqn, layer, config, hessian, svd, [*options, _Option((), 0.0, float(weight.numel()))])


def _svd_options(values: Tensor, outputs: int, inputs: int) -> list[_Option]:
    """Every rank that saves weights; the error is the dropped energy relative to the layer's output's."""
    squares = values.square().numpy()
    dropped = 1 - squares.cumsum() / max(squares.sum(), 1e-30)
    ranks = range(_MULTIPLE, min(len(squares), outputs * inputs // (outputs + inputs)) + 1, _MULTIPLE)
    return [_Option((rank,), max(0.0, float(dropped[rank - 1])), float(rank * (outputs + inputs))) for rank in ranks]


def _tucker_options(weight: Tensor, hessian: Tensor | None) -> list[_Option]:
    """Rank pairs along the path on which both modes alone would lose the same share of the output's energy."""
    outputs, inputs, size = weight.shape[0], weight.shape[1], weight[0, 0].numel()
    tucker = tucker2(weight.flatten(2), _metric(hessian))
    energies = tucker.energies(inputs).numpy()
    total = max(float(energies[-1]), 1e-30)
    errors = {rank: (1 - tucker.energies(rank).numpy() / total).clip(min=0) for rank in _steps(inputs)}
    lost_in = {rank: error[-1] for rank, error in errors.items()}
    lost_out = {rank: max(0.0, 1 - energies[rank - 1] / total) for rank in _steps(outputs)}
    pairs = {(rank, _smallest(lost_out, lost)) for rank, lost in lost_in.items()}
    pairs |= {(_smallest(lost_in, lost), rank) for rank, lost in lost_out.items()}
    return [
        _Option((i, o), float(errors[i][o - 1]), float(i * inputs + i * o * size + outputs * o))
        for i, o in sorted((i, o) for i, o in pairs if i is not None and o is not None)
    ]


def _steps(size: int) -> range:
    """Ranks below full rank: multiples of 4, at most 16 of them."""
    step = _MULTIPLE * -(-size // (_MULTIPLE * _STEPS))
    return range(step, size, step)


def _smallest(lost: dict[int, float], most: float) -> int | None:
    return min((rank for rank, share in lost.items() if share <= most), default=None)


def _metric(hessian: Tensor | None) -> Tensor | None:
    return None if hessian is None else damped(hessian)


def _choose(candidates: list[_Candidate], config: LowRankConfig) -> list[_Option]:
    """Option per layer; those with knobs of their own are left out of the common budget."""
    together = [c for c in candidates if c.config == config]
    chosen = {c.fqn: option for c, option in zip(together, _share_out(together, config), strict=True)}
    return [chosen[c.fqn] if c.fqn in chosen else _share_out([c], c.config)[0] for c in candidates]


def _share_out(candidates: list[_Candidate], config: LowRankConfig) -> list[_Option]:
    """Option per layer; errors relative to the layer's output make layers comparable."""
    if not candidates:
        return []
    if config.allocation == "dynamic":
        budget = config.rank_ratio * sum(c.options[-1].cost for c in candidates)
        errors = [np.array([option.error for option in c.options]) for c in candidates]
        costs = [np.array([option.cost for option in c.options]) for c in candidates]
        return [c.options[i] for c, i in zip(candidates, allocate_ranks(errors, costs, budget), strict=True)]
    if config.allocation == "energy":
        fit = [[o for o in c.options if o.error <= 1 - config.energy] for c in candidates]
        return [min(options, key=lambda option: option.cost) for options in fit]
    most = [config.rank_ratio * c.options[-1].cost for c in candidates]
    return [_best_below(c.options[:-1], limit) for c, limit in zip(candidates, most, strict=True)]


def _best_below(options: list[_Option], limit: float) -> _Option:
    """The option of least error within a number of weights, or the smallest of all."""
    fit = [option for option in options if option.cost <= limit]
    return min(fit, key=lambda option: option.error) if fit else min(options, key=lambda option: option.cost)


def _split(model: nn.Module, candidate: _Candidate, ranks: tuple[int, ...]) -> None:
    layer, fqn, state = candidate.layer, candidate.fqn, state_of(model)
    part: nn.Module
    if len(ranks) == 2 and is_conv2d(layer):
        weight = layer.weight.detach().flatten(2)
        first, core, last = tucker2_factors(weight, _metric(candidate.hessian), *ranks)
        part = TuckerConv2d(layer, first, core.unflatten(2, layer.kernel_size), last)
    else:
        first, second = factors(candidate.svd, ranks[0])
        if is_conv2d(layer):
            part = FactorizedConv2d(layer, first.reshape(-1, *layer.weight.shape[1:]), second)
        else:
            part = FactorizedLinear(layer, first, second)
    model.set_submodule(fqn, part)
    for table in (state.masks, state.encodings):
        table.pop(f"{fqn}.weight", None)
