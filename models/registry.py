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
from torch import nn

from models.downloads import Download
from models.errors import ModelError
from models.origins import WeightsOrigin, find_origin
from models.releases import Release
from models.weights_files import load_weights, read_weights

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
        release: A public file of other people's weights, downloaded on request.
        resize_size: Of photographs: their shorter side before `input_shape` is cut from the middle, pixels.
        interpolation: How they are resized, "bilinear" or "bicubic".
        parameters: Number of parameters where it is known without building the model.
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
    release: Release | None = None
    resize_size: int | None = None
    interpolation: str = "bilinear"
    parameters: int | None = None


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
    own, size = _STUDENTS[name], _count(info, factory)
    others = {i.name: (i, f) for i, f in _MODELS.values() if _sees_the_same(i, info) and i.name != name}
    return MappingProxyType(own | {n: f for n, (i, f) in others.items() if n not in own and _count(i, f) < size})


def _sees_the_same(one: ModelInfo, other: ModelInfo) -> bool:
    names = ("task", "dataset", "input_shape", "input_dtype", "num_classes")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _count(info: ModelInfo, factory: Factory) -> int:
    """Parameters of a model, built only where neither its record nor its card knows: the first build takes seconds."""
    known = _known_count(info)
    if known is not None:
        return known
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in factory().parameters())


def _known_count(info: ModelInfo) -> int | None:
    known = info.parameters or model_card(info.name).get("parameters")
    return None if known is None else int(known)


def known_parameters(name: str) -> int | None:
    """Number of parameters of a model where its record or card says it; None where it would have to be built.

    Raises:
        ModelError: if there is no such model.
    """
    return _known_count(model_info(name))


@lru_cache(maxsize=256)
def count_parameters(name: str) -> int:
    """Number of parameters of a model, tied ones once; the first build of a process takes seconds.

    Raises:
        ModelError: if there is no such model.
    """
    return _count(*_entry(name))


def weights_origin(name: str) -> WeightsOrigin:
    """The weights that a model is loaded with: those shipped, else a downloaded release, else the user's own file.

    Raises:
        ModelError: if there are none on this machine.
    """
    return find_origin(model_info(name), WEIGHTS_DIR / f"{name}.safetensors")


def weights_path(name: str) -> Path:
    """File of a model's weights.

    Raises:
        ModelError: if it is not there.
    """
    return weights_origin(name).path


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
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_download(name: str) -> Download | None:
    """What fetches a model's weights from their public home; None where they have none.

    Raises:
        ModelError: if there is no such model.
    """
    release = model_info(name).release
    return None if release is None else Download(name, (release.file(),), release.source, release.license)


def model_card(name: str) -> dict[str, Any]:
    """Task, accuracy, command, date and SHA-256 of weights trained here; empty for other people's weights."""
    path = WEIGHTS_DIR / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def load_model(name: str) -> nn.Module:
    """A fresh copy of a model with its trained weights, in eval mode.

    Raises:
        ModelError: if the model is unknown, its weights are missing, damaged or do not fit.
    """
    path, info = weights_path(name), model_info(name)
    card = model_card(name)
    if card and path.parent == WEIGHTS_DIR and card["sha256"] != weights_hash(name):
        raise ModelError(f"the weights of {name!r} are damaged: their SHA-256 is not the card's")
    model, tensors = build_model(name), read_weights(path)
    if info.release is not None and path == info.release.path():
        if not weights_hash(name).startswith(info.release.sha256):
            raise ModelError(f"the weights of {name!r} are damaged: {path.name} has not the published SHA-256")
        tensors = info.release.in_our_names(tensors)
    load_weights(model, tensors, name)
    return model.eval()
