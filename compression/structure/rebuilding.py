"""A network brought to the structure that a packed file describes: pruned, split, shared or with blocks left out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compression.layers import is_conv2d, is_linear
from compression.structure.depth import sequences
from compression.structure.factorized import FactorizedConv2d, FactorizedLinear, TuckerConv2d

_SIZES = {nn.BatchNorm1d: "num_features", nn.BatchNorm2d: "num_features"}


def rebuild(model: nn.Module, tensors: Mapping[str, Tensor], shared: Mapping[str, str]) -> None:
    """Give a network the structure whose weights are given, in place; its own weights mean nothing afterwards.

    Args:
        model: The uncompressed architecture, or the student that took its place.
        tensors: Parameters and buffers of the compressed network by name.
        shared: Parameters that are another's, ``name -> name of the other``.
    """
    _drop_blocks(model, tensors)
    _split_layers(model, tensors)
    for fqn, module in list(model.named_modules()):
        _resize(fqn, module, tensors)
    for name, other in shared.items():
        owner, _, last = name.rpartition(".")
        if isinstance(getattr(model.get_submodule(owner), last), nn.Parameter):
            setattr(model.get_submodule(owner), last, model.get_parameter(other))


def _drop_blocks(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Blocks of sequences that have weights, but none in the file."""
    for fqn, sequence in sequences(model):
        for name, block in list(sequence.named_children()):
            prefix = f"{fqn}.{name}." if fqn else f"{name}."
            if block.state_dict() and not any(own.startswith(prefix) for own in tensors):
                delattr(sequence, name)


def _split_layers(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    for fqn, layer in list(model.named_modules()):
        parts = [tensors[name] for i in range(3) if (name := f"{fqn}.{i}.weight") in tensors]
        if len(parts) < 2 or f"{fqn}.weight" in tensors:
            continue
        part: nn.Module | None = None
        if is_linear(layer):
            part = FactorizedLinear(layer, *parts)
        elif is_conv2d(layer) and len(parts) == 2:
            part = FactorizedConv2d(layer, parts[0], parts[1][:, :, 0, 0])
        elif is_conv2d(layer):
            part = TuckerConv2d(layer, parts[0][:, :, 0, 0], parts[1], parts[2][:, :, 0, 0])
        if part is not None:
            model.set_submodule(fqn, part)


def _resize(fqn: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Make the tensors that a module itself holds, and its record of their sizes, those of the file."""
    prefix = f"{fqn}." if fqn else ""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for name, value in own:
        wanted = tensors.get(prefix + name)
        if wanted is not None and wanted.shape != value.shape:
            fresh = torch.zeros(wanted.shape, dtype=value.dtype)
            is_parameter = isinstance(value, nn.Parameter)
            setattr(module, name, nn.Parameter(fresh, requires_grad=False) if is_parameter else fresh)
    if is_conv2d(module):
        _count_channels(module)
    elif is_linear(module):
        module.out_features, module.in_features = module.weight.shape
    elif (size := _SIZES.get(type(module))) is not None:
        setattr(module, size, len(module.running_mean))


def _count_channels(module: nn.Conv2d) -> None:
    outputs, inputs = module.weight.shape[:2]
    if module.groups > 1 and inputs == 1:  # depthwise: a group per input channel
        module.groups = module.groups * outputs // module.out_channels
    module.out_channels, module.in_channels = outputs, inputs * module.groups
