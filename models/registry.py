"""Models by name. A factory decorated with `register_model` builds the architecture; weights lie in ``weights/``."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from models.errors import ModelError
from models.locations import find_reference_weights

Factory = Callable[[], nn.Module]
WEIGHTS_DIR = Path(__file__).resolve().parent / "weights"


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without building it.

    Attributes:
        name: Registry key; the factory's name.
        title: Name for people.
        task: "image_classification" or "language_modeling".
        dataset: Data set it is scored on by default.
        input_shape: Without the batch dimension.
        input_dtype: "float32" or "int64".
        num_classes: Classes, or size of the vocabulary.
        family: "cnn" or "transformer".
        description: One sentence.
        source: Where the weights come from.
        license: Licence of the weights.
        mean: Normalisation per channel; empty for text.
        std: Normalisation per channel; empty for text.
        scale: What raw bytes are divided by before normalisation (255, or 1 for networks on raw bytes).
        reference_weights: Name of a weights file the user has (in the data folder), where none is shipped.
        published_accuracy: Accuracy that the source states, fraction.
    """

    name: str
    title: str
    task: str
    dataset: str
    input_shape: tuple[int, ...]
    num_classes: int
    family: str
    description: str
    source: str = "trained by this project"
    license: str = "MIT"
    input_dtype: str = "float32"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float = 255.0
    reference_weights: str | None = None
    published_accuracy: float | None = None


_MODELS: dict[str, tuple[ModelInfo, Factory]] = {}
_STUDENTS: dict[str, dict[str, Factory]] = {}


def register_model(info: ModelInfo, **students: Factory) -> Callable[[Factory], Factory]:
    """Decorator that registers a zero-argument factory of the untrained architecture.

    Args:
        info: Its record.
        students: Factories of smaller architectures of the same input and output that may learn from it, by name.
    """

    def decorate(factory: Factory) -> Factory:
        _MODELS[info.name], _STUDENTS[info.name] = (info, factory), students
        return factory

    return decorate


@lru_cache(maxsize=1)
def _discover() -> None:
    package = import_module("models.architectures")
    for module in iter_modules(package.__path__):
        import_module(f"models.architectures.{module.name}")


def list_models() -> list[ModelInfo]:
    """All models in registration order; those whose weights are not at hand included."""
    _discover()
    return [info for info, _ in _MODELS.values()]


def _entry(name: str) -> tuple[ModelInfo, Factory]:
    _discover()
    if name not in _MODELS:
        raise ModelError(f"there is no model {name!r}; allowed: " + ", ".join(sorted(_MODELS)))
    return _MODELS[name]


def model_info(name: str) -> ModelInfo:
    """Record of one model.

    Raises:
        ModelError: if there is none of that name.
    """
    return _entry(name)[0]


def build_model(name: str) -> nn.Module:
    """The architecture with untrained weights."""
    return _entry(name)[1]()


@lru_cache(maxsize=64)
def students_of(name: str) -> Mapping[str, Factory]:
    """Smaller architectures that may learn from a model: ``name -> factory``, the weights untrained.

    Its own variants, and the registered models of the same task, input and classes with fewer parameters.

    Raises:
        ModelError: if there is no such model.
    """
    info, factory = _entry(name)
    own, size = _STUDENTS[name], _count(name, factory)
    others = {i.name: f for i, f in _MODELS.values() if _sees_the_same(i, info) and i.name != name}
    return MappingProxyType(own | {n: f for n, f in others.items() if n not in own and _count(n, f) < size})


def _sees_the_same(one: ModelInfo, other: ModelInfo) -> bool:
    names = ("task", "dataset", "input_shape", "input_dtype", "num_classes")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _count(name: str, factory: Factory) -> int:
    """Parameters of a model; its card knows them at once, where building it takes seconds of imports at first."""
    known = model_card(name).get("parameters")
    if known is not None:
        return int(known)
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in factory().parameters())


def weights_path(name: str) -> Path:
    """File of a model's weights.

    Raises:
        ModelError: if it is not there.
    """
    info = model_info(name)
    shipped = WEIGHTS_DIR / f"{name}.safetensors"
    if shipped.is_file():
        return shipped
    if info.reference_weights is not None:
        found = find_reference_weights(info.reference_weights)
        if found is not None:
            return found
        raise ModelError(f"the weights of {name!r} are not here: {info.reference_weights} below COMPRESSION_DATA")
    raise ModelError(f"the weights of {name!r} are not here; make them with: python -m models.train {name}")


def has_weights(name: str) -> bool:
    """Whether a model can be loaded on this machine."""
    try:
        weights_path(name)
    except ModelError:
        return False
    return True


def weights_hash(name: str) -> str:
    """SHA-256 of a model's weights file."""
    return _file_hash(weights_path(name))


@lru_cache(maxsize=64)
def _file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def model_card(name: str) -> dict[str, Any]:
    """Task, accuracy, command, date and SHA-256 of weights trained here; empty for other people's weights."""
    path = WEIGHTS_DIR / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def load_model(name: str) -> nn.Module:
    """A fresh copy of a model with its trained weights, in eval mode.

    Raises:
        ModelError: if the model is unknown, its weights are missing, damaged or do not fit.
    """
    path = weights_path(name)
    card = model_card(name)
    if card and path.parent == WEIGHTS_DIR and card["sha256"] != weights_hash(name):
        raise ModelError(f"the weights of {name!r} are damaged: their SHA-256 is not the card's")
    model = build_model(name)
    try:
        model.load_state_dict(load_file(path), strict=True)
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"the weights of {name!r} do not fit: {reason}") from None
    return model.eval()
