"""Bias correction (Nagel et al., arXiv 1906.04721): a change of weights must not move the mean of an output.

Where a batch norm follows, its corrected statistics see to that. Elsewhere the same calibration inputs run through the
original and the compressed network, and each bias moves by what the mean of its layer's output changed.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from compression.calibration.batch_norm import calibration_sample
from compression.context import CompressionContext
from compression.layers import is_selected, weight_layers
from compression.state import state_of
from compression.structure.dataflow import record_dataflow
from compression.structure.factorized import Factorized
from compression.structure.links import normed_layers

_KEPT = 4
_originals: "OrderedDict[tuple[str, str], dict[str, Tensor]]" = OrderedDict()
Biased = nn.Conv2d | nn.Linear
Visit = Callable[[str, Biased, Tensor], Tensor | None]


def original_means(context: CompressionContext) -> dict[str, Tensor]:
    """Mean output (C_out,) of each layer with a bias, no batch norm behind it and one run per inference.

    Of the uncompressed model on the calibration sample, computed once per model and data set.
    """
    key = (context.model_key, context.data_key)
    if key not in _originals:
        flow = record_dataflow(context.original, context.example_input)
        normed, once = normed_layers(flow), dict(flow.once())
        layers = {
            fqn: layer for fqn, layer in weight_layers(context.original)
            if layer.bias is not None and fqn in once and fqn not in normed
        }
        means: dict[str, Tensor] = {}

        def keep(fqn: str, layer: Biased, output: Tensor) -> None:
            means[fqn] = _mean(output, layer)

        if layers:
            _visit(context.original, layers, context, keep)
        _originals[key] = means
        while len(_originals) > _KEPT:
            _originals.popitem(last=False)
    return _originals[key]


def correct_biases(model: nn.Module, context: CompressionContext) -> tuple[dict[str, Tensor], Tensor] | None:
    """Shift biases in place, layer after layer, so that each sees what its corrected predecessors make.

    Channels that were removed are left out, rescaled ones compared with the original's times their scale. Layers that
    the step leaves out, that lost their bias or whose bias is held to 16 bits stay as they are.

    Returns:
        The biases as they were, by name, and the corrected model's output on the sample; None where there is nothing
        to correct.
    """
    targets, layers, before = {}, {}, {}
    for fqn, mean in original_means(context).items():
        found = _biased(model, fqn) if is_selected(fqn, context) else None
        if found is None:
            continue
        name, layer = found
        target = _target(fqn, mean, model)
        if len(target) == len(layer.bias) and f"{name}.bias" not in state_of(model).encodings:
            targets[name], layers[name] = target, layer
            before[f"{name}.bias"] = layer.bias.detach().clone()

    def shift(name: str, layer: Biased, output: Tensor) -> Tensor | None:
        if name not in targets:
            return None  # it ran before
        change = targets.pop(name) - _mean(output, layer)
        layer.bias.add_(change)
        return output + (change[:, None, None] if isinstance(layer, nn.Conv2d) else change)

    return (before, _visit(model, layers, context, shift)) if layers else None


def _target(fqn: str, mean: Tensor, model: nn.Module) -> Tensor:
    """The original's mean of the channels that are still there, in their present scale."""
    state = state_of(model)
    rows, scale = state.kept.get(fqn), state.output_scales.get(fqn)
    target = mean if rows is None else mean[rows]
    return target if scale is None else target * scale


def _biased(model: nn.Module, fqn: str) -> tuple[str, Biased] | None:
    """Name and layer that holds the bias of what was this layer in the original."""
    try:
        module = model.get_submodule(fqn)
    except AttributeError:
        return None
    name, layer = (f"{fqn}.1", module[1]) if isinstance(module, Factorized) else (fqn, module)
    return (name, layer) if isinstance(layer, Biased) and layer.bias is not None else None


def _mean(output: Tensor, layer: Biased) -> Tensor:
    return output.mean((0, 2, 3)) if isinstance(layer, nn.Conv2d) else output.flatten(0, -2).mean(0)


@torch.inference_mode()
def _visit(model: nn.Module, layers: dict[str, Biased], context: CompressionContext, visit: Visit) -> Tensor:
    """Run the sample; what `visit` returns for a layer's output takes that output's place."""
    handles = []
    for fqn, layer in layers.items():

        def after(module: Any, args: tuple[Tensor, ...], output: Tensor, fqn: str = fqn) -> Tensor | None:
            del args
            return visit(fqn, module, output)

        handles.append(layer.register_forward_hook(after))
    try:
        return model(calibration_sample(context))
    finally:
        for handle in handles:
            handle.remove()
