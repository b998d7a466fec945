"""Removal of units from all members of a group."""

import torch
from torch import Tensor, nn

from compression.layers import is_conv2d, is_linear
from compression.state import Codebook, UniformGrid, state_of
from compression.structure.records import ChannelGroup, Member

_PER_CHANNEL = ("weight", "bias", "running_mean", "running_var")


def remove_units(model: nn.Module, group: ChannelGroup, keep: Tensor) -> None:
    """Remove all units but some, in place: weights, statistics, masks and scales.

    Args:
        model: The model.
        group: One of its groups.
        keep: Units that stay, ascending int64.
    """
    channels = (keep[:, None] * group.width + torch.arange(group.width)).flatten()
    for member in group.members:
        module, rows = model.get_submodule(member.fqn), member.rows(channels)
        if member.role == "table":
            for name in module.per_head:
                _slice(model, member.fqn, name, keep, dim=1)
            continue
        if member.role == "in":
            _slice(model, member.fqn, "weight", rows, dim=1)
        else:
            for name in _PER_CHANNEL:
                if getattr(module, name, None) is not None:
                    _slice(model, member.fqn, name, rows, dim=0)
            kept = state_of(model).kept
            kept[member.fqn] = kept[member.fqn][rows] if member.fqn in kept else rows
        _slice_factors(model, member, rows)
        _resize(module, member, len(rows))


def _slice(model: nn.Module, fqn: str, name: str, rows: Tensor, dim: int) -> None:
    module, state, full = model.get_submodule(fqn), state_of(model), f"{fqn}.{name}"
    value = getattr(module, name)
    cut = value.detach().index_select(dim, rows).clone()
    if isinstance(value, nn.Parameter):
        setattr(module, name, nn.Parameter(cut, requires_grad=value.requires_grad))
    else:
        setattr(module, name, cut)
    if full in state.masks:
        state.masks[full] = state.masks[full].index_select(dim, rows)
    encoding = state.encodings.get(full)
    if isinstance(encoding, UniformGrid) and encoding.group_size and dim == 1:
        del state.encodings[full]  # groups of inputs no longer lie side by side
    elif isinstance(encoding, UniformGrid | Codebook) and dim == 0:
        _slice_scale(encoding, rows)


def _slice_factors(model: nn.Module, member: Member, rows: Tensor) -> None:
    """Keep the record of what its channels were multiplied by."""
    state = state_of(model)
    for table, other in ((state.input_scales, "out"), (state.output_scales, "in")):
        if member.role != other and member.fqn in table:
            table[member.fqn] = table[member.fqn].index_select(0, rows)


def _slice_scale(encoding: UniformGrid | Codebook, rows: Tensor) -> None:
    if encoding.scale is not None and encoding.scale.shape[0] > 1:
        encoding.scale = encoding.scale.index_select(0, rows)
    if isinstance(encoding, UniformGrid) and encoding.zero_point is not None and encoding.zero_point.shape[0] > 1:
        encoding.zero_point = encoding.zero_point.index_select(0, rows)


def _resize(module: nn.Module, member: Member, channels: int) -> None:
    """Keep the modules' own record of their sizes true."""
    if is_conv2d(module):
        if member.role == "depthwise":
            module.groups = channels * module.groups // module.in_channels
            module.in_channels = module.out_channels = channels
        elif member.role == "out":
            module.out_channels = channels
        else:
            module.in_channels = channels
    elif is_linear(module):
        if member.role == "out":
            module.out_features = channels
        else:
            module.in_features = channels
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        module.num_features = channels
