"""Groups of channels that can only be removed together."""

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn

from compression.core.errors import NotApplicableError
from compression.structure.attention import head_groups
from compression.structure.chains import chain_groups
from compression.structure.ends import output_layers, read_elsewhere
from compression.structure.records import ChannelGroup, Member
from compression.structure.surgery import remove_units
from compression.structure.tracing import traced_groups

__all__ = ["ChannelGroup", "Member", "find_groups"]
_KEPT = 8
_cache: "OrderedDict[tuple[str, str], tuple[list[ChannelGroup], dict[str, str]]]" = OrderedDict()


def find_groups(
    model: nn.Module, example_input: Tensor, model_key: str, ignored: tuple[str, ...] = ()
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Removable groups of a model, found once per model and structure. What the network's outputs are made of stays.

    Args:
        model: In eval mode.
        example_input: (1, ...).
        model_key: Identity of the uncompressed model.
        ignored: fqns of other layers whose outputs must stay.

    Returns:
        The groups, and ``fqn -> why`` for what cannot be removed.

    Raises:
        NotApplicableError: if the network cannot be traced within its time.
    """
    shapes = "|".join(f"{n}{tuple(p.shape)}" for n, p in model.named_parameters())
    key = (model_key, shapes)
    if key not in _cache:
        fixed = (*ignored, *output_layers(model, example_input))
        heads = head_groups(model)
        found = _beside(heads, model, example_input, fixed) if heads else _traced(model, example_input, fixed)
        _cache[key] = _read_by_members_only(found, read_elsewhere(model, example_input))
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
    return _cache[key]


def _read_by_members_only(
    found: tuple[list[ChannelGroup], dict[str, str]], elsewhere: set[str]
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Groups none of whose weights are read by code that would not know that they became smaller."""
    groups, reasons = found
    fixed = [group for group in groups if any(member.fqn in elsewhere for member in group.members)]
    reasons |= {group.name: "a weight of its channels is also read outside its layer" for group in fixed}
    return [group for group in groups if group not in fixed], reasons


def _beside(
    heads: list[ChannelGroup], model: nn.Module, example_input: Tensor, ignored: tuple[str, ...]
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Heads, and the neurons and channels of layers that alone feed one other; the residual width stays."""
    taken = {(member.fqn, member.role) for group in heads for member in group.members}
    chains = chain_groups(model, example_input, ignored)
    return [*heads, *(g for g in chains if not any((m.fqn, m.role) in taken for m in g.members))], {}


def _traced(
    model: nn.Module, example_input: Tensor, ignored: tuple[str, ...]
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Traced groups that the network really runs without a unit of: a trace does not see fixed tensors such as the
    network's input, to which a layer's output may be added."""
    try:
        groups, reasons = traced_groups(model, example_input, ignored)
    except NotApplicableError as error:
        groups = chain_groups(model, example_input, ignored)
        if not groups:
            raise
        reasons = {"other layers": f"only layers that alone feed one other were looked for: {error}"}
    if _runs_without(model, groups, example_input):
        return groups, reasons
    fixed = [group for group in groups if not _runs_without(model, [group], example_input)]
    reasons |= {group.name: "its channels meet a tensor of fixed size, such as the network's input" for group in fixed}
    return [group for group in groups if group not in fixed], reasons


def _runs_without(model: nn.Module, groups: list[ChannelGroup], example_input: Tensor) -> bool:
    """Whether the network can be executed once each group has lost its last unit."""
    smaller = copy.deepcopy(model)
    for group in groups:
        if group.units > 1:
            remove_units(smaller, group, torch.arange(group.units - 1))
    try:
        with torch.inference_mode():
            smaller(example_input)
    except RuntimeError:
        return False
    return True
