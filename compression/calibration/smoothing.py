"""SmoothQuant (Xiao et al., arXiv 2211.10438): outliers of activations go into the weights that read them."""

import torch
from torch import Tensor, nn

from compression.calibration.batch_norm import calibration_sample
from compression.context import CompressionContext
from compression.layers import is_selected
from compression.structure.dataflow import record_dataflow
from compression.structure.links import layer_norm_readers
from compression.structure.scaling import input_sizes, may_scale, scale_inputs, scale_outputs

_LEAST = 1e-5


@torch.no_grad()
def smooth(model: nn.Module, alpha: float, context: CompressionContext) -> list[str]:
    """Divide the channels of layer norms by ``max|x|^alpha / max|w|^(1 - alpha)`` and multiply the weights behind.

    What the model computes stays the same but for float rounding. A layer norm that anything but linear layers reads
    is left alone.

    Args:
        model: In eval mode; changed in place.
        alpha: How much of the activations' range goes into the weights, in (0, 1].
        context: For the calibration sample, and the patterns that say which modules may be changed.

    Returns:
        fqns of the layer norms.
    """
    norms = {
        norm: layers for norm, layers in layer_norm_readers(record_dataflow(model, context.example_input))
        if all(is_selected(fqn, context) and may_scale(model, fqn) for fqn in (norm, *layers))
    }
    largest = _largest_outputs(model, list(norms), calibration_sample(context))
    for norm, layers in norms.items():
        weights = torch.stack([input_sizes(model.get_submodule(fqn)) for fqn in layers]).amax(0).clamp(min=_LEAST)
        factors = (largest[norm].clamp(min=_LEAST).pow(alpha) / weights.pow(1 - alpha)).clamp(min=_LEAST)
        scale_outputs(model, norm, 1 / factors)
        for fqn in layers:
            scale_inputs(model, fqn, factors)
    return list(norms)


def _largest_outputs(model: nn.Module, fqns: list[str], inputs: Tensor) -> dict[str, Tensor]:
    """Largest size of each channel (the last axis) over a batch."""
    found: dict[str, Tensor] = {}
    handles = []
    for fqn in fqns:

        def after(module: nn.Module, args: tuple[Tensor, ...], output: Tensor, fqn: str = fqn) -> None:
            del module, args
            found[fqn] = output.abs().flatten(0, -2).amax(0)

        handles.append(model.get_submodule(fqn).register_forward_hook(after))
    try:
        if fqns:
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found
