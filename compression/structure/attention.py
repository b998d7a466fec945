"""Heads and MLP neurons of transformers, recognised by the modules' attributes; the residual width stays."""

from typing import TypeGuard

from torch import nn

from compression.layers import is_linear
from compression.structure.records import ChannelGroup, Member

_ROLES = ("query", "key", "value", "output")
_BETWEEN = (nn.GELU, nn.ReLU, nn.SiLU, nn.Dropout, nn.Identity)


def transformer_groups(model: nn.Module) -> list[ChannelGroup]:
    """Heads of modules with query, key, value, output and head_dim; neurons of the perceptrons beside them.

    Perceptrons are modules with fc1 and fc2, and sequences of two linear layers with an activation between. Parameters
    with one column per head, which a module names in `per_head`, lose these with the heads. Nothing is found in
    networks without attention but for modules with fc1 and fc2.
    """
    heads, neurons, sequences = [], [], []
    for fqn, module in model.named_modules():
        prefix = f"{fqn}." if fqn else ""
        if _is_attention(module):
            members = [Member(f"{prefix}{role}", "out") for role in _ROLES[:3]] + [Member(f"{prefix}output", "in")]
            members += [Member(fqn, "table")] if getattr(module, "per_head", ()) else []
            units = module.query.out_features // module.head_dim
            heads.append(ChannelGroup(f"{prefix}query", units, module.head_dim, tuple(members), "head"))
        elif _is_perceptron(module):
            neurons.append(_neurons(f"{prefix}fc1", f"{prefix}fc2", module.fc1.out_features))
        elif (pair := _pair(module)) is not None:
            first, second = pair
            sequences.append(_neurons(prefix + first, prefix + second, module.get_submodule(first).out_features))
    return [*heads, *neurons, *(sequences if heads else [])]


def _neurons(first: str, second: str, units: int) -> ChannelGroup:
    return ChannelGroup(first, units, 1, (Member(first, "out"), Member(second, "in")), "neuron")


def _is_linear(module: object) -> TypeGuard[nn.Linear]:
    return isinstance(module, nn.Module) and is_linear(module)


def _is_attention(module: nn.Module) -> bool:
    linear = all(_is_linear(getattr(module, role, None)) for role in _ROLES)
    return linear and isinstance(getattr(module, "head_dim", None), int)


def _is_perceptron(module: nn.Module) -> bool:
    first, second = getattr(module, "fc1", None), getattr(module, "fc2", None)
    return _is_linear(first) and _is_linear(second) and first.out_features == second.in_features


def _pair(module: nn.Module) -> tuple[str, str] | None:
    """Names of the only two linear layers of a sequence that holds nothing else but activations."""
    if not isinstance(module, nn.Sequential):
        return None
    linear = [name for name, child in module.named_children() if is_linear(child)]
    rest = [child for child in module.children() if not is_linear(child) and not isinstance(child, _BETWEEN)]
    if len(linear) != 2 or rest:
        return None
    first, second = (module.get_submodule(name) for name in linear)
    return (linear[0], linear[1]) if first.out_features == second.in_features else None
