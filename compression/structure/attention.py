"""Heads and MLP neurons of transformers, recognised by the modules' attributes; the residual width stays."""

from torch import nn

from compression.structure.records import ChannelGroup, Member

_ROLES = ("query", "key", "value", "output")


def transformer_groups(model: nn.Module) -> list[ChannelGroup]:
    """Heads of modules with query, key, value, output and head_dim; neurons of modules with fc1 and fc2."""
    groups = []
    for fqn, module in model.named_modules():
        prefix = f"{fqn}." if fqn else ""
        if _is_attention(module):
            members = [Member(f"{prefix}{role}", "out") for role in _ROLES[:3]] + [Member(f"{prefix}output", "in")]
            units = module.query.out_features // module.head_dim
            groups.append(ChannelGroup(f"{prefix}query", units, module.head_dim, tuple(members), "head"))
        elif _is_perceptron(module):
            members = [Member(f"{prefix}fc1", "out"), Member(f"{prefix}fc2", "in")]
            groups.append(ChannelGroup(f"{prefix}fc1", module.fc1.out_features, 1, tuple(members), "neuron"))
    return groups


def _is_attention(module: nn.Module) -> bool:
    linear = all(isinstance(getattr(module, role, None), nn.Linear) for role in _ROLES)
    return linear and isinstance(getattr(module, "head_dim", None), int)


def _is_perceptron(module: nn.Module) -> bool:
    first, second = getattr(module, "fc1", None), getattr(module, "fc2", None)
    return isinstance(first, nn.Linear) and isinstance(second, nn.Linear) and first.out_features == second.in_features
