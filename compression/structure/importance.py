"""In which order the units of a group can go, and what that costs."""

import hashlib

import torch
from torch import Tensor, nn

from compression.calibration.gradients import original_gradients
from compression.calibration.hessian import damped, fitting_hessian
from compression.context import CompressionContext
from compression.solvers.factors import remembered
from compression.solvers.removal import RemovalOrder, removal_order
from compression.structure.records import ChannelGroup


def unit_order(model: nn.Module, group: ChannelGroup, criterion: str, context: CompressionContext) -> RemovalOrder:
    """Units in the order in which they can go, with the cost so far after each.

    Args:
        model: The model.
        group: One of its groups.
        criterion: "obs" (output error after the others adapt, see `removal_order`), "output" (output that a unit
            carries), "taylor" (squared first-order change of the loss; Molchanov et al., arXiv 1906.10771), "l1" or
            "l2" (size of its weights). The first three fall back to "l2" where a layer has no Hessian or gradient that
            fits, because it was changed before.
        context: For the Hessians and gradients, progress and cancel.
    """
    readers = _readers(model, group, context) if criterion in ("obs", "output") else []
    if criterion == "obs" and readers:
        watch = context.watch(f"order of removal of {group.name}")
        weights, hessians = zip(*readers, strict=True)
        digest = hashlib.sha256(b"".join(w.numpy().tobytes() for w in weights)).hexdigest()
        return remembered(
            hessians[0], f"removal {group.units} {digest}",
            lambda _: removal_order(weights, [damped(h) for h in hessians], group.units, watch),
        )
    if criterion == "output" and readers:
        scores = sum(_carried(weight, hessian.double(), group.units) for weight, hessian in readers)
    else:
        first_order = _first_order(model, group, context) if criterion == "taylor" else None
        scores = _sizes(model, group, 1 if criterion == "l1" else 2) if first_order is None else first_order
    assert isinstance(scores, Tensor)
    order = scores.argsort()[:-1]
    errors = scores[order].cumsum(0) / scores.sum().clamp(min=1e-30)
    return RemovalOrder(tuple(order.tolist()), tuple(errors.tolist()))


def _readers(model: nn.Module, group: ChannelGroup, context: CompressionContext) -> list[tuple[Tensor, Tensor]]:
    """Flattened weight and Hessian of each layer that reads the units; empty where one does not fit."""
    found = []
    for fqn in group.consumers():
        weight, hessian = model.get_submodule(fqn).weight.detach().flatten(1), fitting_hessian(fqn, model, context)
        if hessian is None or hessian.ndim != 2 or weight.shape[1] % group.units:
            return []
        found.append((weight, hessian))
    return found


def _sizes(model: nn.Module, group: ChannelGroup, power: int) -> Tensor:
    """Weights that make and read each unit, summed up; float64 (units,)."""
    total = torch.zeros(group.units * group.width, dtype=torch.float64)
    for member in group.members:
        if member.role == "out":
            made = model.get_submodule(member.fqn).weight.detach().flatten(1).double().abs().pow(power).sum(1)
            total[slice(*(member.part or (0, len(total))))] += made
    for fqn in group.consumers():
        weight = model.get_submodule(fqn).weight.detach().double().abs().pow(power)
        total += weight.transpose(0, 1).flatten(1).sum(1)
    return total.unflatten(0, (group.units, group.width)).sum(1)


def _first_order(model: nn.Module, group: ChannelGroup, context: CompressionContext) -> Tensor | None:
    """Squared first-order change of the loss when a unit's output goes to zero; float64 (units,).

    Scaling what a unit puts out is scaling the weights that read it, so the term is their ``sum of weight x gradient``.
    """
    gradients, total = original_gradients(context), torch.zeros(group.units * group.width, dtype=torch.float64)
    for fqn in group.consumers():
        weight, gradient = model.get_submodule(fqn).weight.detach(), gradients.get(f"{fqn}.weight")
        if gradient is None or gradient.shape != weight.shape:
            return None
        total += (weight.double() * gradient.double()).transpose(0, 1).flatten(1).sum(1)
    return total.unflatten(0, (group.units, group.width)).sum(1).square()


def _carried(weight: Tensor, hessian: Tensor, units: int) -> Tensor:
    """Squared output that each unit's removal would cost if the others stayed as they are; float64 (units,)."""
    size, rows = weight.shape[1] // units, torch.arange(units)
    blocks = hessian.view(units, size, units, size)[rows, :, rows]
    parts = weight.double().view(-1, units, size).permute(1, 0, 2)
    return ((parts @ blocks) * parts).sum((1, 2))
