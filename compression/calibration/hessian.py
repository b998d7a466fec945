"""Layer-wise Hessians of the inputs, ``H = (2/N) X X^T`` (OBC, Frantar and Alistarh, arXiv 2208.11580).

Computed once per model and dataset from the original network's inputs and kept in memory and on disk, so that a
slider move costs a solve and not a pass over the data.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file
from scipy.linalg.blas import ssyrk
from torch import Tensor, nn

from compression.calibration.batches import batch_for
from compression.context import CompressionContext
from compression.layers import is_linear, weight_layers
from compression.solvers.factors import remembered
from compression.state import state_of

_KEPT = 3
_ROWS, _ROWS_OF_WIDE, _WIDE = 32_768, 8_192, 1_024
_BATCH = 32
_LARGEST = 4608
_DAMPING = 0.01
_LOOK_SECONDS = 0.2
_cache: "OrderedDict[tuple[str, str], dict[str, Tensor]]" = OrderedDict()


def original_hessians(context: CompressionContext) -> dict[str, Tensor]:
    """Hessian of each convolution's and linear layer's inputs in the uncompressed network.

    Returns:
        ``fqn -> H``, float32; (K, K) with K the inputs of one output (unfolded, in the order of the flattened
        weight), or (groups, K, K) for grouped convolutions. Layers with more than 4,608 inputs are left out.
    """
    key = (context.model_key, context.data_key)
    if key not in _cache:
        _cache[key] = _read_or_collect(context)
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
    return _cache[key]


def _read_or_collect(context: CompressionContext) -> dict[str, Tensor]:
    """From disk; where they are not there yet, one process collects them and the others wait for it."""
    path = _path(context)
    if path is None:
        return collect_hessians(context.original, context.calibration_inputs, context)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock"), context):
            if not path.is_file():
                found = collect_hessians(context.original, context.calibration_inputs, context)
                _save(found, path)
                return found
    return load_file(path)


@contextmanager
def _locked(path: Path, context: CompressionContext) -> Iterator[None]:
    """Hold a lock between processes; a cancel ends the wait for it."""
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_LOOK_SECONDS)
        except Timeout:
            context.check_cancelled()
    try:
        yield
    finally:
        lock.release()


def fitting_hessian(fqn: str, model: nn.Module, context: CompressionContext) -> Tensor | None:
    """A layer's Hessian, or None where the layer no longer has the inputs or groups that it had originally.

    Where its input channels were rescaled since (`CompressionState.input_scales`), so is the Hessian.

    Args:
        fqn: The layer.
        model: The model as it is now.
        context: For the original's Hessians.
    """
    found, layer = original_hessians(context).get(fqn), model.get_submodule(fqn)
    if found is None or found.shape[-1] != layer.weight[0].numel():
        return None
    if found.ndim == 3 and len(found) != getattr(layer, "groups", 1):
        return None
    scale = state_of(model).input_scales.get(fqn)
    return found if scale is None else _rescaled(found, layer, scale)


def _rescaled(hessian: Tensor, layer: nn.Module, scale: Tensor) -> Tensor:
    """``S H S`` with the scale of each input channel repeated over its kernel positions."""
    positions = layer.weight[0, 0].numel() if layer.weight.ndim > 2 else 1
    factors = scale.repeat_interleave(positions).reshape(*hessian.shape[:-1])
    return hessian * factors[..., :, None] * factors[..., None, :]


def _path(context: CompressionContext) -> Path | None:
    if context.cache_dir is None:
        return None
    name = hashlib.sha256(f"{context.model_key}|{context.data_key}|{_ROWS}".encode()).hexdigest()[:20]
    return context.cache_dir / "hessians" / f"{name}.safetensors"


def _save(hessians: dict[str, Tensor], path: Path) -> None:
    draft = path.with_suffix(f".{os.getpid()}.part")
    save_file(hessians, draft)
    draft.replace(path)


@torch.inference_mode()
def collect_hessians(
    model: nn.Module, inputs: Tensor, context: CompressionContext, only: frozenset[str] | None = None
) -> dict[str, Tensor]:
    """Run inputs through a model and sum the outer products of each layer's inputs.

    Args:
        model: In eval mode.
        inputs: Calibration inputs (N, ...).
        context: For progress and cancel.
        only: fqns to observe; all by default.
    """
    size = batch_for(inputs.shape[1:], _BATCH)
    sums: dict[str, Tensor] = {}
    rows: dict[str, int] = {}
    handles = []
    for fqn, layer in weight_layers(model):
        if only is not None and fqn not in only:
            continue
        if layer.weight[0].numel() > _LARGEST:
            continue

        def before(module: Any, args: tuple[Tensor, ...], fqn: str = fqn) -> None:
            x = input_rows(module, args[0], max(1, _rows(module.weight[0].numel()) * size // len(inputs)))
            sums[fqn] = _with_outer_products(sums.get(fqn), x)
            rows[fqn] = rows.get(fqn, 0) + x.shape[-1]

        handles.append(layer.register_forward_pre_hook(before))
    try:
        for start in range(0, len(inputs), size):
            context.check_cancelled()
            context.progress(start / len(inputs), "statistics of the layers' inputs")
            model(inputs[start : start + size])
    finally:
        for handle in handles:
            handle.remove()
    found = {}
    for fqn in list(sums):
        context.check_cancelled()
        context.progress(1.0, "statistics of the layers' inputs")
        total = sums.pop(fqn)
        whole = total.triu_().add_(total.triu(1).mT).mul_(2.0 / rows[fqn])
        found[fqn] = whole if whole.is_contiguous() else whole.mT  # the same matrix, as files hold it
    return found


def _with_outer_products(total: Tensor | None, x: Tensor) -> Tensor:
    """A sum of outer products (K, K) with those of the columns (K, n) added; only its upper half is complete."""
    if x.ndim == 3:
        return x @ x.mT if total is None else total.add_(x @ x.mT)
    if total is None:
        total = x.new_zeros(len(x), len(x)).t()
    return torch.from_numpy(
        ssyrk(1.0, x.t().contiguous().numpy().T, 1.0, total.numpy(), lower=0, overwrite_c=1)
    )


def _rows(inputs: int) -> int:
    """Most observed rows for so many inputs: the cost of a row grows with their square."""
    return _ROWS if inputs <= _WIDE else max(_ROWS_OF_WIDE, 2 * inputs)


def input_rows(layer: nn.Conv2d | nn.Linear, x: Tensor, limit: int) -> Tensor:
    """Inputs of single outputs as columns, (K, n) or (groups, K, n); an evenly spread sample of at most `limit`."""
    if is_linear(layer):
        flat = x.flatten(0, -2) if x.ndim > 1 else x[None]
        return flat[:: -(-len(flat) // limit)].t()
    if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x, padding = F.pad(x, layer._reversed_padding_repeated_twice, mode), (0, 0)
    else:
        padding = layer.padding
    picked = _picked_columns(layer, x, padding, limit)
    return picked if layer.groups == 1 else picked.unflatten(0, (layer.groups, -1))


def _picked_columns(layer: nn.Conv2d, x: Tensor, padding: Any, limit: int) -> Tensor:
    """Of the unfolded inputs an even share, (K, n): only the positions picked are copied, few of many."""
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])).movedim(1, 3)
    height, width, channels = padded.shape[1:]
    (rows, columns), (down, right), (deep, wide) = layer.kernel_size, layer.stride, layer.dilation
    tops = torch.arange(0, height - deep * (rows - 1), down) * width
    corners = (tops[:, None] + torch.arange(0, width - wide * (columns - 1), right)).flatten()
    step = -(-len(x) * len(corners) // limit)
    image, corner = ((torch.arange(len(corners)) + torch.arange(len(x))[:, None]) % step == 0).nonzero(as_tuple=True)
    kernel = (torch.arange(rows)[:, None] * deep * width + torch.arange(columns) * wide).flatten()
    places = (image * height * width + corners[corner])[:, None] + kernel
    picked = padded.reshape(-1, channels).index_select(0, places.flatten())
    return picked.unflatten(0, places.shape).transpose(1, 2).flatten(1).t()


def damped(hessian: Tensor) -> Tensor:
    """Float64 Hessian with ``0.01 mean(diag H)`` on its diagonal; dead inputs get 1. Not to be changed."""
    return remembered(hessian, "damped", _damped)


def _damped(hessian: Tensor) -> Tensor:
    h = hessian.double().clone()
    diagonal = torch.diagonal(h, dim1=-2, dim2=-1)
    dead = diagonal == 0
    diagonal += _DAMPING * diagonal.mean(-1, keepdim=True)
    diagonal[dead] += 1.0
    return h
