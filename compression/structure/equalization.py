"""Cross-layer equalization (Nagel et al., arXiv 1906.04721): channels rescaled so that their ranges match."""

import torch
from torch import Tensor, nn

from compression.context import CompressionContext
from compression.layers import is_selected
from compression.structure.dataflow import record_dataflow
from compression.structure.links import Link, find_links, normed_layers
from compression.structure.scaling import (
    input_sizes,
    may_scale,
    output_sizes,
    scale_before_norm,
    scale_inputs,
    scale_outputs,
)

_SWEEPS = 4
_MOST = 100.0


@torch.no_grad()
def equalize(model: nn.Module, context: CompressionContext) -> tuple[int, int]:
    """Rescale channels in place; what the model computes stays the same but for float rounding.

    The output channels of a layer with a batch norm behind it get the same range, which the batch norm takes back
    whatever follows. Of two layers linked by positive-homogeneous functions, channel i leaves the first divided by
    ``s_i`` and enters the second's weights multiplied by it, ``s_i = sqrt(r1_i / r2_i)`` with the ranges r1 and r2 of
    the weights that make and read it, batch norm folded in.

    Args:
        model: In eval mode.
        context: Its example input shows how the layers are joined, its patterns which may be changed.

    Returns:
        How many layers had their channels evened out before a batch norm, and how many links were equalized.
    """
    flow = record_dataflow(model, context.example_input)
    normed = {
        fqn: norm for fqn, norm in normed_layers(flow).items()
        if _may_scale(model, fqn, context) and _is_affine_norm(model, norm, context)
    }
    for fqn, norm in normed.items():
        sizes = output_sizes(model.get_submodule(fqn))
        scale_before_norm(model, fqn, norm, _bounded(sizes.mean() / sizes))
    links = [link for link in find_links(flow) if _applies(model, link, context)]
    for _ in range(_SWEEPS):
        for link in links:
            _balance(model, link)
    return len(normed), len(links)


def _may_scale(model: nn.Module, fqn: str, context: CompressionContext) -> bool:
    return is_selected(fqn, context) and may_scale(model, fqn)


def _is_affine_norm(model: nn.Module, fqn: str, context: CompressionContext) -> bool:
    return model.get_submodule(fqn).running_var is not None and _may_scale(model, fqn, context)


def _applies(model: nn.Module, link: Link, context: CompressionContext) -> bool:
    if not all(_may_scale(model, fqn, context) for fqn in (link.producer, link.consumer)):
        return False
    if link.norm is not None and not _is_affine_norm(model, link.norm, context):
        return False
    made, read = model.get_submodule(link.producer).weight.shape[0], input_sizes(model.get_submodule(link.consumer))
    return len(read) % made == 0  # a flattened image gives each channel several inputs


def _balance(model: nn.Module, link: Link) -> None:
    made = output_sizes(model.get_submodule(link.producer))
    if link.norm is not None:
        norm = model.get_submodule(link.norm)
        made = made * (norm.weight / (norm.running_var + norm.eps).sqrt()).abs()
    read = input_sizes(model.get_submodule(link.consumer)).reshape(len(made), -1)
    factors = _bounded((made / read.amax(1)).sqrt())
    scale_outputs(model, link.norm or link.producer, 1 / factors)
    scale_inputs(model, link.consumer, factors.repeat_interleave(read.shape[1]))


def _bounded(factors: Tensor) -> Tensor:
    """Factors within [1/100, 100]; 1 where one of the ranges is zero."""
    sound = torch.isfinite(factors) & (factors > 0)
    return torch.where(sound, factors, torch.ones_like(factors)).clamp(1 / _MOST, _MOST)
