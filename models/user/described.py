"""Models of users for the registry: those that are kept, and those that a recipe describes in place of a name."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from models.checkpoints import SUFFIXES
from models.errors import FieldError
from models.info import ModelInfo
from models.user import described_huggingface, onnx_models
from models.user.builders import build
from models.user.description import describe, wants_average
from models.user.kept_models import check_files, code_module, entries, entry
from models.user.weight_files import find_weights

__all__ = ["code_module", "described", "entries", "entry"]


def described(given: Mapping[str, Any], dataset: str) -> tuple[ModelInfo, Callable[[], nn.Module]]:
    """Record and factory of a model that a recipe describes; its name is made of what the description says.

    Args:
        given: "onnx" or "huggingface" with the preprocessing, or fields of `models.user.description.FIELDS`.
        dataset: Dataset it is scored on.

    Raises:
        FieldError: naming the field, the value and what is allowed.
    """
    if onnx_models.NAME in given:
        return onnx_models.described_onnx(given, dataset)
    if described_huggingface.NAME in given:
        return described_huggingface.described_folder(given, dataset)
    weights = given.get("weights")
    if not isinstance(weights, str) or not weights:
        raise FieldError("weights", weights, f"the path of a file is needed: {', '.join(SUFFIXES)}")
    path, ema = find_weights(weights), wants_average(given)
    check_files(path, weights)
    description = describe({key: value for key, value in given.items() if key != "weights"}, dataset)
    text = f"{sorted(description.to_dict().items())}|{path}|{path.stat().st_mtime_ns}|{ema}"
    name = f"{description.kind.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    maker = partial(build, description.kind, description.num_classes, description.input_size)
    return replace(description.info(name, str(path), path.name), ema=ema), maker
