"""Weights files of other people and of users, read without executing anything in them."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import ModelError

SUFFIXES = (".safetensors", ".pth", ".pt", ".th")
_NESTED = ("state_dict", "model_state_dict", "model", "net")
_WRAPPER = "module."
_SHOWN = 3


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a ``.safetensors`` file, or from a ``.pth`` file read with ``weights_only=True``.

    A training checkpoint gives its state dict; the prefix that data-parallel training leaves is taken off.

    Raises:
        ModelError: if the file is no such file, is damaged, or holds anything but tensors.
    """
    if path.suffix not in SUFFIXES:
        raise ModelError(f"{path.name}: a weights file is needed; allowed: " + ", ".join(SUFFIXES))
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, AttributeError, pickle.UnpicklingError,
            zipfile.BadZipFile, SafetensorError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ModelError(f"{path.name} cannot be read as weights: {reason}") from None
    return _tensors(held, path.name)


def _tensors(held: Any, name: str) -> dict[str, Tensor]:
    for key in _NESTED:
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    if not isinstance(held, Mapping) or not held:
        raise ModelError(f"{name} cannot be read as weights: it holds a {type(held).__name__}, not tensors by name")
    strange = [key for key, value in held.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if strange:
        raise ModelError(f"{name} cannot be read as weights: {strange[0]!r} is no tensor")
    if all(key.startswith(_WRAPPER) for key in held):
        return {key.removeprefix(_WRAPPER): value for key, value in held.items()}
    return dict(held)


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Put tensors into a model, in place: all of them, or nothing.

    Modules that split what others hold in one tensor (``adapt_state``) rearrange it first.

    Args:
        model: The architecture.
        tensors: Its weights by name.
        name: What they are called in errors.

    Raises:
        ModelError: if names or shapes differ; it says which and how many.
    """
    found = dict(tensors)
    for fqn, module in model.named_modules(remove_duplicate=False):
        adapt = getattr(module, "adapt_state", None)
        if adapt is not None:
            adapt(found, f"{fqn}." if fqn else "")
    wanted = model.state_dict()
    for key, value in wanted.items():
        if key.endswith("num_batches_tracked"):
            found.setdefault(key, value)
    problems = [
        _listed("missing", [key for key in wanted if key not in found]),
        _listed("unknown", [key for key in found if key not in wanted]),
        _listed("of another shape", [
            f"{key} ({_shape(found[key])} instead of {_shape(wanted[key])})"
            for key in wanted if key in found and found[key].shape != wanted[key].shape
        ]),
    ]
    if any(problems):
        raise ModelError(f"the weights of {name!r} do not fit: " + "; ".join(filter(None, problems)))
    model.load_state_dict(found, strict=True)


def _listed(kind: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {kind}: {', '.join(names[:_SHOWN])}{more}"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a single number"
