"""Correction of a compressed network without batch norm: biases and layer norms make up for shifted outputs.

A changed weight shifts the mean of its layer's output, and later layers see inputs that none was trained on. The same
calibration inputs run through the original and through the compressed network; layer after layer, the bias moves by the
difference of the means (bias correction, Nagel et al., arXiv 1906.04721), and the gain and bias of a layer norm by what
brings mean and deviation of its output back.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compression.calibration.batch_norm import calibration_sample
from compression.context import CompressionContext
from compression.layers import is_conv2d, is_selected, layer_kind
from compression.state import HalfPrecision, state_of
from compression.structure.factorized import Factorized

_KEPT = 4
_FLOOR = 1e-6
_originals: "OrderedDict[tuple[str, str], dict[str, OutputMoments]]" = OrderedDict()


@dataclass(frozen=True)
class OutputMoments:
    """Mean and standard deviation per output channel, (C,)."""

    mean: Tensor
    std: Tensor


def correct_moments(model: nn.Module, context: CompressionContext) -> Tensor:
    """Correct biases and layer norms in place, in one pass in which each layer sees its corrected predecessors.

    Layers that the step leaves out, that the original does not have or with other outputs are left alone; of channels
    that were removed the original's are left out (`state_of(model).kept`), and rescaled ones are compared in their
    scale (`output_scales`).

    Returns:
        The corrected model's output on the calibration sample.
    """
    wanted, handles = _original_moments(context), []
    for fqn, module in _observed(model):
        if fqn not in wanted or not is_selected(fqn, context):
            continue
        target = _target(fqn, wanted[fqn], model)

        def after(module: Any, args: Any, output: Tensor, fqn: str = fqn, target: OutputMoments = target) -> Tensor:
            return _correct(fqn, module, output, target, model)

        handles.append(module.register_forward_hook(after))
    try:
        with torch.inference_mode():
            return model(calibration_sample(context))
    finally:
        for handle in handles:
            handle.remove()


def _target(fqn: str, original: OutputMoments, model: nn.Module) -> OutputMoments:
    """The original's moments of the channels that are still there, in their present scale."""
    kept, scale = state_of(model).kept.get(fqn), state_of(model).output_scales.get(fqn)
    rows = torch.arange(len(original.mean)) if kept is None else kept
    factor = torch.ones(len(rows)) if scale is None else scale
    return OutputMoments(original.mean[rows] * factor, original.std[rows] * factor)


def correctable(model: nn.Module) -> list[str]:
    """Names of the parameters that `correct_moments` may change."""
    names = []
    for fqn, module in _observed(model):
        if isinstance(module, nn.LayerNorm):
            names += [f"{fqn}.weight", f"{fqn}.bias"]
        else:
            names.append(_bias_name(fqn, module))
    return names


def _observed(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Layers with a bias, split ones as a whole, and layer norms over the last dimension, but none shared by blocks."""
    split = tuple(f"{fqn}." for fqn, module in model.named_modules() if isinstance(module, Factorized))
    pairs = state_of(model).shared.items()
    shared = {name.rpartition(".")[0] for pair in pairs for name in pair}
    return [
        (fqn, module) for fqn, module in model.named_modules()
        if not fqn.startswith(split or "/") and fqn not in shared and _bias(module) is not None
    ]


def _bias(module: nn.Module) -> nn.Parameter | None:
    if isinstance(module, nn.LayerNorm):
        plain = type(module).forward is nn.LayerNorm.forward  # others may have their channels on another axis
        return module.bias if plain and module.elementwise_affine and len(module.normalized_shape) == 1 else None
    if isinstance(module, Factorized):
        return module[-1].bias
    return module.bias if layer_kind(module) is not None else None


def _bias_name(fqn: str, module: nn.Module) -> str:
    return f"{fqn}.{len(module) - 1}.bias" if isinstance(module, Factorized) else f"{fqn}.bias"


def _moments(module: nn.Module, output: Tensor) -> OutputMoments:
    rows = output.transpose(1, -1) if _is_spatial(module) else output
    rows = rows.flatten(0, -2)
    return OutputMoments(rows.mean(0), rows.std(0, correction=0))


def _is_spatial(module: nn.Module) -> bool:
    return is_conv2d(module) or (isinstance(module, Factorized) and is_conv2d(module[0]))


def _original_moments(context: CompressionContext) -> dict[str, OutputMoments]:
    """Of the uncompressed model on the sample, computed once per model and dataset."""
    key = (context.model_key, context.data_key)
    if key not in _originals:
        found: dict[str, OutputMoments] = {}
        handles = [
            module.register_forward_hook(lambda m, args, out, fqn=fqn: found.update({fqn: _moments(m, out)}))
            for fqn, module in _observed(context.original)
        ]
        try:
            with torch.inference_mode():
                context.original(calibration_sample(context))
        finally:
            for handle in handles:
                handle.remove()
        _originals[key] = found
        while len(_originals) > _KEPT:
            _originals.popitem(last=False)
    return _originals[key]


def _correct(fqn: str, module: Any, output: Tensor, target: OutputMoments, model: nn.Module) -> Tensor:
    now = _moments(module, output)
    if now.mean.shape != target.mean.shape:
        return output
    if isinstance(module, nn.LayerNorm):
        gain = torch.where(now.std > _FLOOR, target.std / now.std.clamp(min=_FLOOR), torch.ones_like(now.std))
        _store(model, f"{fqn}.weight", module.weight * gain)
        _store(model, f"{fqn}.bias", target.mean + (module.bias - now.mean) * gain)
        return target.mean + (output - now.mean) * gain
    shift = target.mean - now.mean
    bias = _bias(module)
    assert bias is not None
    _store(model, _bias_name(fqn, module), bias + shift)
    return output + (shift[:, None, None] if _is_spatial(module) else shift)


def _store(model: nn.Module, name: str, value: Tensor) -> None:
    """Put a corrected value in place; what is held in 16 bits stays so."""
    encoding = state_of(model).encodings.get(name)
    if isinstance(encoding, HalfPrecision):
        value = value.to(getattr(torch, encoding.dtype)).float()
    model.get_parameter(name).copy_(value)
