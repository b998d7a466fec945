"""Heads of transformers, recognised by the attention modules' attributes; the residual width stays."""

from typing import TypeGuard

from torch import nn

from compression.layers import is_linear
from compression.structure.records import ChannelGroup, Member

_ROLES = ("query", "key", "value", "output")


def head_groups(model: nn.Module) -> list[ChannelGroup]:
    """Heads of modules with query, key, value, output and head_dim.

    Parameters with one column per head, which a module names in `per_head`, lose these with the heads.
    """
    heads = []
    for fqn, module in model.named_modules():
        if _is_attention(module):
            prefix = f"{fqn}." if fqn else ""
            members = [Member(f"{prefix}{role}", "out") for role in _ROLES[:3]] + [Member(f"{prefix}output", "in")]
            members += [Member(fqn, "table")] if getattr(module, "per_head", ()) else []
            units = module.query.out_features // module.head_dim
            heads.append(ChannelGroup(f"{prefix}query", units, module.head_dim, tuple(members), "head"))
    return heads


def _is_linear(module: object) -> TypeGuard[nn.Linear]:
    return isinstance(module, nn.Module) and is_linear(module)


def _is_attention(module: nn.Module) -> bool:
    linear = all(_is_linear(getattr(module, role, None)) for role in _ROLES)
    return linear and isinstance(getattr(module, "head_dim", None), int)
