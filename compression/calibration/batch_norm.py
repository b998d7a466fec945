"""Batch-norm statistics after a change of weights: the relative correction.

Re-estimating statistics from clean training images lowers even an untouched network, because it was trained with
augmentation. The relative correction needs no knowledge of that: the same calibration images run through the
original (o) and the compressed network (c), and each statistic moves by what changed between the two,
``mean' = mean + (mean_c - mean_o) sqrt(var / var_o)`` and ``var' = var var_c / var_o``.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compression.context import CompressionContext
from compression.state import state_of

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_KEPT = 4
_SAMPLES, _FEWEST = 128, 32
_VALUES = 2**23  # all together: 128 images of 128x128 pixels, 55 of 224x224
_ROWS_AT_ONCE = 16_384
_FLOOR = 1e-5
_originals: "OrderedDict[tuple[str, str], tuple[dict[str, Moments], Tensor]]" = OrderedDict()
_channels_last: "OrderedDict[tuple[str, str], bool]" = OrderedDict()


@dataclass(frozen=True)
class Moments:
    """Mean and variance per channel, (C,)."""

    mean: Tensor
    var: Tensor


def batch_norms(model: nn.Module) -> dict[str, Any]:
    """Batch norms with running statistics, by fqn."""
    return {
        fqn: m for fqn, m in model.named_modules() if isinstance(m, BATCH_NORMS) and m.running_mean is not None
    }


@torch.inference_mode()
def input_moments(
    model: nn.Module, inputs: Tensor, correct: dict[str, Moments] | None = None
) -> tuple[dict[str, Moments], Tensor]:
    """Moments of each batch norm's input over a batch, and the model's output.

    Args:
        model: In eval mode.
        inputs: (N, ...).
        correct: Where given, the statistics of these batch norms are corrected as the batch passes, so that each
            layer sees what its corrected predecessors make of it.
    """
    found: dict[str, Moments] = {}
    handles = []
    for fqn, norm in batch_norms(model).items():

        def before(module: Any, args: tuple[Tensor, ...], fqn: str = fqn) -> None:
            x = args[0]
            rows = x.movedim(1, -1).flatten(0, -2)
            mean, power = rows.mean(0), _squares(rows) / len(rows)
            found[fqn] = Moments(mean, (power - mean.square()).clamp(min=0))
            if correct is not None and fqn in correct:
                _shift(module, correct[fqn], found[fqn])

        handles.append(norm.register_forward_pre_hook(before))
    try:
        output = model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found, output


def _squares(rows: Tensor) -> Tensor:
    """Sum of squares per column, some rows at a time: a copy of all would not stay in the processor's cache."""
    total = rows.new_zeros(rows.shape[1])
    for part in rows.split(_ROWS_AT_ONCE):
        total += part.square().sum(0)
    return total


def _shift(norm: Any, original: Moments, now: Moments) -> None:
    ratio = norm.running_var / original.var.clamp(min=_FLOOR)
    norm.running_mean.add_((now.mean - original.mean) * ratio.sqrt())
    norm.running_var.copy_((now.var.clamp(min=_FLOOR) * ratio).clamp(min=_FLOOR * 1e-3))


def original_pass(context: CompressionContext) -> tuple[dict[str, Moments], Tensor]:
    """Moments and output of the uncompressed model on the sample, computed once per model and dataset."""
    key = (context.model_key, context.data_key)
    if key not in _originals:
        _originals[key] = input_moments(context.original, calibration_sample(context))
        while len(_originals) > _KEPT:
            _originals.popitem(last=False)
    return _originals[key]


def calibration_sample(context: CompressionContext) -> Tensor:
    """At most 128 calibration inputs, fewer large ones, evenly spread.

    Images are channels-last, which is faster on a CPU, but for networks whose code needs contiguous ones (``view``).
    """
    most = max(_FEWEST, min(_SAMPLES, _VALUES // max(1, context.calibration_inputs[0].numel())))
    step = -(-len(context.calibration_inputs) // most)
    sample = context.calibration_inputs[::step]
    if sample.ndim != 4:
        return sample
    key = (context.model_key, context.data_key)
    if key not in _channels_last:
        _channels_last[key] = takes_channels_last(context.original, sample[:2])
        while len(_channels_last) > _KEPT:
            _channels_last.popitem(last=False)
    return sample.contiguous(memory_format=torch.channels_last) if _channels_last[key] else sample.contiguous()


@torch.no_grad()
def takes_channels_last(model: Callable[[Tensor], Tensor], images: Tensor) -> bool:
    """Whether a network in eval mode runs on channels-last images; ``view`` in its code may need contiguous ones."""
    try:
        model(images.contiguous(memory_format=torch.channels_last))
    except RuntimeError:
        return False
    return True


def correct_batch_norm(model: nn.Module, context: CompressionContext) -> Tensor | None:
    """Start every batch norm from the original's statistics and correct it, layer after layer, in one pass.

    Channels that were removed are left out of the comparison (`state_of(model).kept` says which stayed), and those
    that were rescaled are compared with the original's times that scale (`state_of(model).input_scales`).

    Returns:
        The corrected model's output on the sample; None where there is no batch norm that could be compared.
    """
    moments, source = original_pass(context)[0], batch_norms(context.original)
    norms, kept = batch_norms(model), state_of(model).kept
    targets: dict[str, Moments] = {}
    for fqn, norm in norms.items():
        if fqn not in source:
            continue
        rows = kept.get(fqn, torch.arange(source[fqn].num_features))
        if len(rows) != norm.num_features:
            continue
        scale = state_of(model).input_scales.get(fqn, torch.ones(len(rows)))
        norm.running_mean.copy_(source[fqn].running_mean[rows] * scale)
        norm.running_var.copy_(source[fqn].running_var[rows] * scale.square())
        targets[fqn] = Moments(moments[fqn].mean[rows] * scale, moments[fqn].var[rows] * scale.square())
    if not targets:
        return None
    return input_moments(model, calibration_sample(context), targets)[1]
