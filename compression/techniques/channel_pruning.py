"""Structured pruning: channels, neurons and attention heads are really removed."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, fitting_hessian, original_hessians
from compression.context import CompressionContext
from compression.core.errors import NotApplicableError
from compression.knobs import knob, validate
from compression.layers import config_for, matches
from compression.metrics.macs import MacsReport, count_macs
from compression.other_weights import report_others
from compression.solvers.allocation import spread_budget
from compression.solvers.reconstruction import reconstruct_inputs
from compression.solvers.removal import RemovalOrder
from compression.structure import ChannelGroup, find_groups, remove_units
from compression.structure.importance import unit_order
from compression.techniques.registry import register_technique

_HALVINGS = 24
_STATISTICS, _ORDERS, _REMOVAL = (0.02, 0.4), (0.4, 0.85), (0.85, 0.95)


@dataclass(frozen=True)
class ChannelPruningConfig:
    """Knobs of channel pruning."""

    pruning_ratio: float = knob(
        0.3, "Fraction of the channels, neurons and heads that is removed.", low=0.0, high=0.95,
        step=0.05, unit="fraction", sweep=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    )
    criterion: str = knob(
        "obs", "Rank units by the size of their weights (L1 or L2), by the first-order change of the loss (Taylor), by "
        "the output they carry, or by the output lost after the others have made up for them (optimal brain surgeon).",
        choices=("l1", "l2", "taylor", "output", "obs"), advanced=True,
    )
    scope: str = knob(
        "global", "Remove where it costs least, or the same fraction of each group.", choices=("global", "layer"),
        advanced=True, by_layer=False,
    )
    target: str = knob(
        "units", "What a ratio that is spread over groups is a fraction of: units, or multiply-accumulates.",
        choices=("units", "macs"), advanced=True, by_layer=False,
    )
    reconstruct: bool = knob(
        True, "Refit the layers behind, so that they make up for the removed inputs.", advanced=True
    )
    round_to: int = knob(
        8, "Keep channel counts at multiples of this; kernels like 8 and 16.", choices=(1, 4, 8, 16), advanced=True
    )
    coupled: bool = knob(
        False, "Also remove channels that several layers share through additions.", advanced=True
    )

    def __post_init__(self) -> None:
        validate(self, "channel_pruning")


@register_technique(
    config_type=ChannelPruningConfig,
    key="channel_pruning",
    title="Channel pruning",
    family="pruning",
    paper="Fang et al. 2023 (DepGraph)",
    paper_url="https://arxiv.org/abs/2301.12900",
    main_knob="pruning_ratio",
    summary="Removes whole channels, neurons and attention heads; the tensors become smaller.",
    smaller="yes: whole rows and columns of the tensors are gone, in the ONNX file too.",
    faster="yes, everywhere: fewer multiplications on the same dense kernels, most where multiples of 8 or 16 stay.",
    formula=r"\begin{gathered}H=\tfrac{2}{N}XX^\top\\W'=W\,H_{:,K}\,(H_{KK}+\lambda I)^{-1}\end{gathered}",
    symbols=r"$K$: the channels that stay. The layers that read them are refitted to the original's output on "
    r"calibration inputs $X$, so that they make up for those that are gone.",
    example=({"technique": "channel_pruning", "pruning_ratio": 0.5, "scope": "layer"},),
    needs=frozenset({"calibration"}),
    order=10,
)
def prune_channels(model: nn.Module, config: ChannelPruningConfig, context: CompressionContext) -> nn.Module:
    """Remove units group by group, refit their consumers, and correct the statistics.

    Raises:
        NotApplicableError: if the network has no group of units that can be removed, or cannot be traced.
    """
    context.progress(0.0, "structure of the network")
    groups, reasons = find_groups(model, context.example_input, context.model_key)
    context.report.skipped.update(reasons)
    report_others(model, context, "units of a {kind} are not removed")
    chosen = [g for g in groups if _selected(g, config, context)]
    if not chosen:
        raise NotApplicableError("no channels, neurons or heads were found that can be removed on their own")
    plans = _plans(model, chosen, config, context)
    shares = _spread([p for p in plans if p.config == config and config.scope == "global"], model, config, context)
    removed = 0
    removal = context.phase(*_REMOVAL)
    for number, plan in enumerate(plans):
        watch = removal.phase(number / len(plans), (number + 1) / len(plans)).watch("removal of units")
        watch(0.0)
        removed += _remove(model, plan, shares.get(plan.group.name), context, watch)
    total = sum(group.units for group in chosen)
    if config.pruning_ratio and not removed:
        context.report.notes.append(f"0 of {total} channels, neurons and heads removed; each layer says why")
    if removed:
        context.report.notes.append(f"{removed} of {total} channels, neurons and heads removed")
        finish_step(model, context, _REMOVAL[1])
    return model


def _config_of(group: ChannelGroup, config: ChannelPruningConfig, context: CompressionContext) -> ChannelPruningConfig:
    """The knobs of a group: those that an override gives to any of the layers whose outputs it is."""
    own = (config_for(name, config, context) for name in group.producers())
    return next((changed for changed in own if changed != config), config)


@dataclass(frozen=True)
class _Plan:
    """A group, its knobs, the order in which its units go and how many may stay."""

    group: ChannelGroup
    config: ChannelPruningConfig
    order: RemovalOrder
    allowed: tuple[int, ...]

    def curve(self) -> list[tuple[float, float]]:
        """``(fraction removed, cost)`` at each number that may stay."""
        units = self.group.units
        return [(1 - n / units, self.order.errors[units - n - 1] if n < units else 0.0) for n in self.allowed]

    def staying(self, count: int) -> list[int]:
        """The units that stay, ascending; modules side by side each keep a multiple of theirs, at least one."""
        last_first = [*(set(range(self.group.units)) - set(self.order.order)), *reversed(self.order.order)]
        chosen = last_first[:count]
        if not self.group.parts():
            return sorted(chosen)
        found: list[int] = []
        for first, end in self.group.parts():
            step = min(self.config.round_to, end - first)
            own = [unit for unit in last_first if first <= unit < end]
            wanted = sum(first <= unit < end for unit in chosen)
            found += own[: max(step, round(wanted / step) * step)]
        return sorted(found)

    def kept(self, share: float) -> int:
        """The number that may stay nearest to a fraction removed."""
        return min(self.allowed, key=lambda n: abs(n - (1 - share) * self.group.units))


def _plans(
    model: nn.Module, groups: list[ChannelGroup], config: ChannelPruningConfig, context: CompressionContext
) -> list[_Plan]:
    """A plan of each group; the time that its order takes grows with its readers' inputs."""
    configs = [_config_of(group, config, context) for group in groups]
    if any(found.reconstruct or found.criterion in ("obs", "output") for found in configs):
        original_hessians(context.phase(*_STATISTICS))
    work = [_work(model, group) for group in groups]
    plans, total, done = [], sum(work), 0.0
    part = context.phase(*_ORDERS)
    for group, found, added in zip(groups, configs, work, strict=True):
        phase = part.phase(done / total, (done + added) / total)
        phase.watch(f"order of removal of {group.name}")(0.0)
        plans.append(_plan(model, group, found, phase))
        done += added
    return plans


def _work(model: nn.Module, group: ChannelGroup) -> float:
    return 1.0 + sum(float(model.get_submodule(fqn).weight[0].numel()) ** 3 for fqn in group.consumers())


def _plan(
    model: nn.Module, group: ChannelGroup, config: ChannelPruningConfig, context: CompressionContext
) -> _Plan:
    """Heads are not rounded; of all others a multiple of `round_to` stays, and at least one unit."""
    step = 1 if group.kind == "head" else min(max(1, config.round_to // group.width), group.units)
    allowed = tuple(dict.fromkeys([group.units, *range(group.units // step * step, 0, -step)]))
    return _Plan(group, config, unit_order(model, group, config.criterion, context), allowed)


def _spread(
    plans: list[_Plan], model: nn.Module, config: ChannelPruningConfig, context: CompressionContext
) -> dict[str, float]:
    """Fraction to remove of each group: where a multiply-accumulate saved costs least, until the target is met."""
    if not plans or config.pruning_ratio == 0:
        return {}
    names, curves = [p.group.name for p in plans], [p.curve() for p in plans]
    macs, units = count_macs(model, context.example_input), sum(p.group.units for p in plans)
    sizes = [float(sum(macs.by_layer.get(m.fqn, 0) for m in p.group.members)) for p in plans]
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):  # layers between two groups shrink by both, so the budget is searched for
        shares = dict(zip(names, spread_budget(curves, sizes, (low + high) / 2), strict=True))
        kept = {p.group.name: p.kept(shares[p.group.name]) for p in plans}
        if config.target == "macs":
            removed = 1 - _macs_left(macs, [p.group for p in plans], kept) / macs.total
        else:
            removed = 1 - sum(kept.values()) / units
        low, high = ((low + high) / 2, high) if removed < config.pruning_ratio else (low, (low + high) / 2)
    return dict(zip(names, spread_budget(curves, sizes, high), strict=True))


def _macs_left(macs: MacsReport, groups: list[ChannelGroup], kept: dict[str, int]) -> float:
    """Multiply-accumulates when so many of each group's units stay."""
    factors = dict.fromkeys(macs.by_layer, 1.0)
    for group in groups:
        for member in group.members:
            if member.fqn in factors:
                factors[member.fqn] *= kept[group.name] / group.units
    rest = macs.total - sum(macs.by_layer.values())
    return rest + sum(macs.by_layer[fqn] * factor for fqn, factor in factors.items())


def _remove(
    model: nn.Module, plan: _Plan, share: float | None, context: CompressionContext, watch: Callable[[float], None]
) -> int:
    """Remove the share of a group's units that was spread to it, or its own ratio, rounded; returns how many."""
    group, ratio = plan.group, plan.config.pruning_ratio
    count = plan.kept(ratio if share is None else share)
    if ratio == 0:
        return 0
    if count == group.units:
        needed = "units elsewhere cost less" if share is not None else f"the nearest multiple of {plan.config.round_to}"
        if len(plan.allowed) == 1:
            needed = f"fewer would be no multiple of {plan.config.round_to}"
        context.report.skipped[group.name] = f"all {group.units} units stay: {needed}"
        return 0
    keep = torch.tensor(plan.staying(count))
    refitted = _refitted(model, group, keep, context, watch) if plan.config.reconstruct else {}
    remove_units(model, group, keep)
    for fqn, weight in refitted.items():
        model.get_submodule(fqn).weight.data = weight
    context.report.changed += group.producers()
    return group.units - len(keep)


def _selected(group: ChannelGroup, config: ChannelPruningConfig, context: CompressionContext) -> bool:
    if group.coupled and not _config_of(group, config, context).coupled:
        context.report.skipped[group.name] = "its channels are shared through additions"
        return False
    names = group.producers()
    if context.include and not any(matches(name, p) for name in names for p in context.include):
        context.report.skipped[group.name] = "not in the step's included layers"
        return False
    if any(matches(name, p) for name in names for p in context.exclude):
        context.report.skipped[group.name] = "excluded by the step"
        return False
    return True


def _refitted(
    model: nn.Module, group: ChannelGroup, keep: Tensor, context: CompressionContext, watch: Callable[[float], None]
) -> dict[str, Tensor]:
    """New weights of the consumers on the remaining inputs."""
    found: dict[str, Tensor] = {}
    for fqn in sorted({*group.consumers()} - {*group.producers()}):  # a layer that feeds itself loses outputs too
        weight, hessian = model.get_submodule(fqn).weight.detach(), fitting_hessian(fqn, model, context)
        if hessian is None or hessian.ndim != 2:
            continue
        size = weight[0].numel() // group.units
        inputs = (keep[:, None] * size + torch.arange(size)).flatten()
        solved = reconstruct_inputs(weight.flatten(1), damped(hessian), inputs, watch)
        found[fqn] = solved.reshape(weight.shape[0], -1, *weight.shape[2:])
    return found
