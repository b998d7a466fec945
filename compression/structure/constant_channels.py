"""Channels that are the same for every input, whatever the data: nothing is lost when they are removed."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from compression.layers import weight_layers

_SHOWN = 4


def constant_channels(model: nn.Module) -> dict[str, int]:
    """Number of output channels per module that do not depend on its input; modules without any are left out.

    These are filters and neurons whose weights are all zero, and channels that a batch norm multiplies by zero.
    """
    counts = {fqn: int((layer.weight.detach().flatten(1) == 0).all(1).sum()) for fqn, layer in weight_layers(model)}
    for fqn, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.weight is not None:
            counts[fqn] = int((module.weight.detach() == 0).sum())
    return {fqn: count for fqn, count in counts.items() if count}


def constant_channels_note(model: nn.Module) -> str | None:
    """A sentence about the constant channels of an uncompressed model; None where there are none."""
    found = constant_channels(model)
    if not found:
        return None
    names = ", ".join(f"{count} of {fqn}" for fqn, count in list(found.items())[:_SHOWN])
    more = f" and of {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (
        f"Channels that are the same for every input (weights all zero): {names}{more}. Channel pruning can remove "
        "them without loss."
    )
