"""Structured pruning: channels, neurons and attention heads are really removed."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, original_hessians
from compression.context import CompressionContext
from compression.errors import NotApplicableError
from compression.knobs import knob, validate
from compression.layers import config_for, matches
from compression.solvers.reconstruction import reconstruct_inputs
from compression.structure import ChannelGroup, find_groups, remove_units
from compression.techniques.registry import register_technique


@dataclass(frozen=True)
class ChannelPruningConfig:
    """Knobs of channel pruning."""

    pruning_ratio: float = knob(
        0.3, "Fraction of the channels, neurons and heads of each group that is removed.", low=0.0, high=0.95,
        step=0.05, unit="fraction", sweep=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    )
    criterion: str = knob(
        "l2", "Rank units by the size of their weights (L1 or L2) or by how much of the output they carry.",
        choices=("l1", "l2", "output"), advanced=True,
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
    helps="Smaller and faster everywhere: fewer multiplications on the same dense kernels.",
    needs=frozenset({"calibration"}),
    order=10,
)
def prune_channels(model: nn.Module, config: ChannelPruningConfig, context: CompressionContext) -> nn.Module:
    """Remove units group by group, refit their consumers, and correct the statistics.

    Raises:
        NotApplicableError: if the network has no group of units that can be removed, or cannot be traced.
    """
    groups, reasons = find_groups(model, context.example_input, context.model_key, context.protected[-1:])
    context.report.skipped.update(reasons)
    chosen = [g for g in groups if _selected(g, config, context)]
    if not chosen:
        raise NotApplicableError("no channels, neurons or heads were found that can be removed on their own")
    removed = total = 0
    for group in chosen:
        context.check_cancelled()
        own = config_for(group.name, config, context)
        count = _kept_units(group, own)
        total += group.units
        if count == group.units:
            if own.pruning_ratio:
                context.report.skipped[group.name] = f"{group.units} units do not divide by {own.round_to}"
            continue
        keep = torch.topk(_scores(model, group, own, context), count).indices.sort().values
        removed += group.units - count
        refitted = _refitted(model, group, keep, context) if own.reconstruct else {}
        remove_units(model, group, keep)
        for fqn, weight in refitted.items():
            model.get_submodule(fqn).weight.data = weight
        context.report.changed += group.producers()
    if removed:
        context.report.notes.append(f"{removed} of {total} channels, neurons and heads removed")
        finish_step(model, context)
    return model


def _selected(group: ChannelGroup, config: ChannelPruningConfig, context: CompressionContext) -> bool:
    if group.coupled and not config.coupled:
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


def _kept_units(group: ChannelGroup, config: ChannelPruningConfig) -> int:
    """Units that stay: the multiple of `round_to` nearest to the ratio (heads are not rounded), at least one."""
    if config.pruning_ratio == 0:
        return group.units
    wanted = (1 - config.pruning_ratio) * group.units
    step = 1 if group.kind == "head" else min(config.round_to, group.units)
    return min(group.units, max(step, round(wanted / step) * step))


def _scores(
    model: nn.Module, group: ChannelGroup, config: ChannelPruningConfig, context: CompressionContext
) -> Tensor:
    """Importance of each unit, float64 (units,)."""
    if config.criterion == "output":
        carried = _carried_output(model, group, context)
        if carried is not None:
            return carried
    power = 1 if config.criterion == "l1" else 2
    total = torch.zeros(group.units * group.width, dtype=torch.float64)
    for fqn in group.producers():
        total += model.get_submodule(fqn).weight.detach().flatten(1).double().abs().pow(power).sum(1)
    for fqn in group.consumers():
        weight = model.get_submodule(fqn).weight.detach().double().abs().pow(power)
        total += weight.transpose(0, 1).flatten(1).sum(1)
    return total.unflatten(0, (group.units, group.width)).sum(1)


def _carried_output(model: nn.Module, group: ChannelGroup, context: CompressionContext) -> Tensor | None:
    """Squared output that each unit's removal would cost in the consumers, before refitting."""
    hessians = original_hessians(context)
    total = torch.zeros(group.units, dtype=torch.float64)
    for fqn in group.consumers():
        weight, hessian = model.get_submodule(fqn).weight.detach(), hessians.get(fqn)
        if hessian is None or hessian.shape[-1] != weight[0].numel() or hessian.ndim != 2:
            return None
        blocks = weight.flatten(1).double().unflatten(1, (group.units, -1))
        size = blocks.shape[-1]
        for unit in range(group.units):
            part = hessian[unit * size : (unit + 1) * size, unit * size : (unit + 1) * size].double()
            total[unit] += ((blocks[:, unit] @ part) * blocks[:, unit]).sum()
    return total


def _refitted(
    model: nn.Module, group: ChannelGroup, keep: Tensor, context: CompressionContext
) -> dict[str, Tensor]:
    """New weights of the consumers on the remaining inputs."""
    hessians = original_hessians(context)
    found: dict[str, Tensor] = {}
    for fqn in group.consumers():
        weight, hessian = model.get_submodule(fqn).weight.detach(), hessians.get(fqn)
        if hessian is None or hessian.ndim != 2 or hessian.shape[-1] != weight[0].numel():
            continue
        size = weight[0].numel() // group.units
        inputs = (keep[:, None] * size + torch.arange(size)).flatten()
        solved = reconstruct_inputs(weight.flatten(1), damped(hessian), inputs)
        found[fqn] = solved.reshape(weight.shape[0], -1, *weight.shape[2:])
    return found
