"""What is done to a network before anything is measured on it, and what a user is told of that."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.architectures.attention_blocks import separate_roles
from models.convolutions import pad_in_front
from models.errors import ModelError
from models.inputs import guard_input
from models.outputs import chosen_output, give_primary_output
from models.parametrizations import bake_parametrizations

_NOTES = "_preparation_notes"
_SAME_AS = {"timm.layers.linear.Linear": nn.Linear}  # their forward pass differs only under TorchScript


def prepare(model: nn.Module) -> nn.Module:
    """Make a network one that every technique can act on, in place; returns the model.

    Layers that equal PyTorch's become those, attention modules get one layer per role, the input is left as it is, and
    the output is one tensor.
    """
    model = separate_roles(make_plain(model))
    guard_input(model)
    give_primary_output(model)
    return model


def make_plain(model: nn.Module) -> nn.Module:
    """Give layers of libraries that compute exactly what PyTorch's do PyTorch's class, in place; returns the model.

    Only listed classes are taken, no classes that derive from them: what another forward pass computes for every input
    cannot be seen from running it.
    """
    for module in model.modules():
        plain = _SAME_AS.get(f"{type(module).__module__}.{type(module).__qualname__}")
        if plain is not None:
            module.__class__ = plain
        pad_in_front(module)
    return model


def bake(model: nn.Module) -> nn.Module:
    """Make computed weights plain, in place, and remember which; returns the model.

    Raises:
        ModelError: if its predictions would depend on the other samples of a batch, its weights are of another type
            than float32, or a part of it is closed.
    """
    check_parts(model)
    object.__setattr__(model, _NOTES, [*getattr(model, _NOTES, []), *bake_parametrizations(model)])
    return model


def check_running_statistics(model: nn.Module) -> None:
    """Refuse batch norms that normalize by the batch at hand, also when they predict.

    Raises:
        ModelError: naming the first of them.
    """
    without = [fqn for fqn, m in model.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is None]
    if without:
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        raise ModelError(
            f"batch norm {without[0]!r}{more} has no running statistics (track_running_stats=False): predictions "
            "would depend on the other samples of a batch; allowed: batch norms with running statistics"
        )


def check_parts(model: nn.Module) -> None:
    """Refuse what cannot be measured rightly: see `check_running_statistics`, closed parts, weights of other types.

    Raises:
        ModelError: naming the first of them.
    """
    check_running_statistics(model)
    closed = next((fqn for fqn, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)), None)
    if closed is not None:
        raise ModelError(
            f"{closed!r} is a TorchScript module, whose layers cannot be reached; allowed: the nn.Module it was made of"
        )
    projected = next((f for f, m in model.named_modules() if isinstance(m, nn.LSTM) and m.proj_size), None)
    if projected is not None:
        raise ModelError(f"the LSTM {projected!r} has a proj_size, which no operator of ONNX has; allowed: proj_size=0")
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            kind = str(parameter.dtype).removeprefix("torch.")
            raise ModelError(f"the weight {name!r} is {kind} in the network's code; allowed: float32 (`.float()`)")


def preparation_notes(model: nn.Module) -> list[str]:
    """What was baked into plain weights, and which of several outputs is the prediction (once it has run)."""
    chosen = chosen_output(model)
    return [*getattr(model, _NOTES, []), *([chosen] if chosen else [])]
