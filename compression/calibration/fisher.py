"""How strongly the loss reacts to each layer's output: squared gradients (the diagonal of the Fisher information).

One backward pass over the calibration samples, from random gradients at the outputs that have the second moment which
the Fisher information asks for (Martens, arXiv 1412.1193; FIT, arXiv 2210.08502). For a small change of a layer's
weights the loss grows by half of this energy times the change of the output.
"""

import copy
import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from compression.calibration.batches import batch_for
from compression.context import CompressionContext
from compression.layers import weight_layers

_KEPT = 4
_BATCH = 32
_VERSION = 2
_cache: "OrderedDict[tuple[str, str], dict[str, Tensor]]" = OrderedDict()


def output_energy(context: CompressionContext) -> dict[str, Tensor]:
    """Energy of the loss's gradient at the output of each layer of the original network.

    Returns:
        ``fqn -> (C_out,)``, float64: the squared gradient per output channel, summed over positions, mean over
        samples. Layers that the loss does not depend on are missing.

    Raises:
        CancelledError: if the user cancelled.
    """
    key = (context.model_key, context.data_key)
    if key not in _cache:
        _cache[key] = _read_or_compute(context)
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
    return _cache[key]


def _read_or_compute(context: CompressionContext) -> dict[str, Tensor]:
    path = _path(context)
    if path is None:
        return _compute(context)
    if not path.is_file():
        found = _compute(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}.part")
        save_file(found, draft)
        draft.replace(path)
        return found
    return load_file(path)


def _path(context: CompressionContext) -> Path | None:
    if context.cache_dir is None:
        return None
    name = hashlib.sha256(f"{context.model_key}|{context.data_key}|{_VERSION}".encode()).hexdigest()[:20]
    return context.cache_dir / "fisher" / f"{name}.safetensors"


@torch.inference_mode(False)
@torch.enable_grad()
def _compute(context: CompressionContext) -> dict[str, Tensor]:
    inputs, problem, generator = context.calibration_inputs, context.problem, torch.Generator().manual_seed(0)
    of_values = inputs.is_floating_point()  # then no parameter needs a gradient, which halves the backward pass
    model = copy.deepcopy(context.original).eval().requires_grad_(not of_values)
    sums: dict[str, Tensor] = {}
    observed: dict[str, nn.Module] = dict(weight_layers(model))
    observed.update((fqn, m) for fqn, m in model.named_modules() if isinstance(m, nn.Embedding))
    for fqn, layer in observed.items():
        layer.register_forward_hook(_observer(fqn, sums))
    size = batch_for(inputs.shape[1:], _BATCH)
    for start in range(0, len(inputs), size):
        context.check_cancelled()
        context.progress(start / len(inputs), "effect of each layer on the loss")
        batch = inputs[start : start + size].clone().requires_grad_(of_values)
        outputs = problem.flat(model(batch))
        outputs.backward(problem.fisher_gradient(outputs.detach(), generator))
    return {fqn: total / len(inputs) for fqn, total in sums.items()}


def _observer(fqn: str, sums: dict[str, Tensor]) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        del args
        channel = 1 if isinstance(module, nn.Conv2d) else output.ndim - 1

        def add(gradient: Tensor) -> None:
            energy = gradient.movedim(channel, -1).flatten(0, -2).double().square().sum(0)
            sums[fqn] = sums.get(fqn, torch.zeros_like(energy)) + energy

        if output.requires_grad:
            output.register_hook(add)

    return hook
