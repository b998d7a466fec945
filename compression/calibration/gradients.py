"""Gradients of the task loss at the uncompressed weights, for criteria that need them."""

import copy
from collections import OrderedDict

import torch
from torch import Tensor

from compression.calibration.batches import batch_for
from compression.context import CompressionContext

_KEPT = 2
_BATCH = 32
_cache: "OrderedDict[tuple[str, str], dict[str, Tensor]]" = OrderedDict()


def original_gradients(context: CompressionContext) -> dict[str, Tensor]:
    """Gradient of the task's mean loss on the calibration samples (training split) by parameter name, float32.

    Computed once per model and dataset, in eval mode: running statistics count as constants.

    Raises:
        CancelledError: if the user cancelled.
    """
    key = (context.model_key, context.data_key)
    if key not in _cache:
        _cache[key] = _gradients(context)
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
    return _cache[key]


@torch.inference_mode(False)
@torch.enable_grad()
def _gradients(context: CompressionContext) -> dict[str, Tensor]:
    model = copy.deepcopy(context.original).eval().requires_grad_(True)
    inputs, targets = context.calibration_inputs, context.calibration_targets
    size = batch_for(inputs.shape[1:], _BATCH)
    for start in range(0, len(inputs), size):
        context.check_cancelled()
        outputs = context.problem.flat(model(inputs[start : start + size].clone()))
        wanted = targets[start : start + size].flatten().clone()
        (context.problem.task_loss(outputs, wanted) * (wanted.numel() / targets.numel())).backward()
    return {name: p.grad.detach() for name, p in model.named_parameters() if p.grad is not None}
