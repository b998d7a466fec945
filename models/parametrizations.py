"""Weights that a module computes from other parameters, baked into plain ones: every layer then is what it seems."""

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import (
    SpectralNorm,
    SpectralNormLoadStateDictPreHook,
    SpectralNormStateDictHook,
    remove_spectral_norm,
)
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from models.convolutions import STANDARDIZED, bake_standardized, is_standardized

_STATE_HOOKS = (SpectralNormStateDictHook, SpectralNormLoadStateDictPreHook)
_SHOWN = 3


def has_parametrizations(model: nn.Module) -> bool:
    """Whether a network computes any of its weights from other parameters."""
    return any(
        parametrize.is_parametrized(module) or _hooked(module) or is_standardized(module) for module in model.modules()
    )


@torch.no_grad()
def bake_parametrizations(model: nn.Module) -> list[str]:
    """Replace computed weights by their values, in place; what the network computes in eval mode stays the same.

    Parametrizations (`torch.nn.utils.parametrizations`: weight_norm, spectral_norm, orthogonal, and users'), the hooks
    of older versions (weight_norm, spectral_norm), the masks of `torch.nn.utils.prune`, and timm's convolutions that
    standardize their weight.

    Returns:
        One sentence per kind, naming the weights.
    """
    baked: dict[str, list[str]] = {}
    training, _ = model.training, model.eval()  # spectral norm changes its estimate whenever it is read in training
    for fqn, module in model.named_modules():
        prefix = f"{fqn}." if fqn else ""
        for kind, name in (*_hooked(module), *_parametrized(module)):
            _bake(module, kind, name)
            baked.setdefault(kind, []).append(prefix + name)
        if is_standardized(module):
            bake_standardized(module)
            baked.setdefault(STANDARDIZED, []).append(f"{prefix}weight")
    model.train(training)
    return [f"Baked into plain weights, {kind}: {_listed(names)}." for kind, names in baked.items()]


def _hooked(module: nn.Module) -> list[tuple[str, str]]:
    """Kind and parameter name of each hook that computes a weight before the forward pass."""
    found = []
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            found.append(("weight norm", hook.name))
        elif isinstance(hook, SpectralNorm):
            found.append(("spectral norm", hook.name))
        elif isinstance(hook, prune.BasePruningMethod):
            found.append(("pruning mask", hook._tensor_name))
    return found


def _parametrized(module: nn.Module) -> list[tuple[str, str]]:
    """Kind and parameter name of each parametrization."""
    if not parametrize.is_parametrized(module):
        return []
    return [
        (" and ".join(type(step).__name__.strip("_").lower() for step in steps), name)
        for name, steps in module.parametrizations.items()  # type: ignore[union-attr]
    ]


def _bake(module: nn.Module, kind: str, name: str) -> None:
    if parametrize.is_parametrized(module, name):
        parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    elif kind == "weight norm":
        remove_weight_norm(module, name)
    elif kind == "spectral norm":
        remove_spectral_norm(module, name)
        for table in (module._state_dict_hooks, module._load_state_dict_pre_hooks):  # which it leaves behind
            for key, hook in list(table.items()):
                if type(getattr(hook, "hook", hook)) in _STATE_HOOKS:
                    del table[key]
    else:
        prune.remove(module, name)
    value = getattr(module, name).detach().clone().contiguous()
    if name not in module._parameters:  # without gradients PyTorch leaves a plain tensor
        delattr(module, name)
    setattr(module, name, nn.Parameter(value))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
