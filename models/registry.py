"""Models by name. A factory decorated with `register_model` builds the architecture; weights lie in ``weights/``."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, wraps
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from torch import nn

from models import models_file
from models.checkpoints import Checkpoint, MismatchError, load_checkpoint, read_checkpoint, weight_files
from models.errors import FieldError, ModelError
from models.huggingface import read_folder
from models.info import ModelInfo
from models.onnx_import.files import SUFFIX as ONNX
from models.onnx_import.files import onnx_files
from models.parametrizations import has_parametrizations
from models.preparing import bake, prepare
from models.providers import ModelEntry, model_providers
from models.source_code import architecture_code
from models.sources.downloads import Download
from models.sources.origins import WeightsOrigin, find_origin

_TEXTS = (
    "source", "license", "published_accuracy", "release", "reference_weights", "parameters", "weights",
    "preprocessing_source",
)
FIRST_MODEL = "fashion_resnet20"  # what pages open with: its accuracy bends within the range of the sliders
Factory = Callable[[], nn.Module]
WEIGHTS_DIR = Path(__file__).resolve().parent / "weights"


_MODELS: dict[str, tuple[ModelInfo, Factory]] = {}
_STUDENTS: dict[str, dict[str, Factory]] = {}
_DESCRIBED: dict[str, tuple[ModelInfo, Factory]] = {}
_OF_FILE: set[str] = set()
_RUNNING: set[Path] = set()


def register_model(info: ModelInfo, **students: Factory) -> Callable[[Factory], Factory]:
    """Decorator that registers a zero-argument factory of the untrained architecture.

    Args:
        info: Its record.
        students: Factories of smaller architectures of the same input and output that may learn from it, by name.
    """

    def decorate(factory: Factory) -> Factory:
        _MODELS[info.name] = (info, _prepared(factory))
        _STUDENTS[info.name] = {name: _prepared(student) for name, student in students.items()}
        return factory

    return decorate


def _prepared(factory: Factory) -> Factory:
    """A factory of prepared networks; users' weights files load into them as well."""

    @wraps(factory)
    def build() -> nn.Module:
        return prepare(factory())

    return build


@lru_cache(maxsize=1)
def _discover() -> None:
    package = import_module("models.architectures")
    for module in iter_modules(package.__path__):
        import_module(f"models.architectures.{module.name}")


def load_models_file(*, anew: bool = False) -> None:
    """Register the models of the Python file that the user has named, if any; once in a process.

    Args:
        anew: Whether another file may have been named since.

    Raises:
        FieldError: if it fails, or registers a name that there is already.
    """
    if _RUNNING:  # the file itself looks models up
        return
    if anew:
        _load_file.cache_clear()
    _load_file()


@lru_cache(maxsize=1)
def _load_file() -> None:
    _discover()
    path = models_file.named_file()
    if path is None:
        return
    before = dict(_MODELS)
    _RUNNING.add(path)
    try:
        models_file.run_file(path)
        clash = [name for name, entry in before.items() if _MODELS[name] is not entry]
        if clash:
            raise FieldError(models_file.OPTION, str(path), f"it registers {clash[0]!r}, which there is already")
    except ModelError:
        _MODELS.clear()
        _MODELS.update(before)
        raise
    finally:
        _RUNNING.clear()
    for name in _MODELS.keys() - before.keys():
        info, factory = _MODELS[name]
        _MODELS[name] = (_of_file(info, path), factory)
        _OF_FILE.add(name)


def _of_file(info: ModelInfo, path: Path) -> ModelInfo:
    """What a user's file leaves open is the user's."""
    weights = path.parent / Path(info.weights or f"{info.name}.safetensors").expanduser()
    ours = info.source == ModelInfo.source
    said = ("" if ours else info.source) or f"the user's file {path.name}", "the user's" if ours else info.license
    return replace(info, weights=str(weights), source=said[0], license=said[1])


def registered_models() -> list[ModelInfo]:
    """Models in code, in registration order; those that users have added through a page or a command left out."""
    load_models_file()
    return [info for info, _ in _MODELS.values()]


def registered(name: str) -> ModelInfo | None:
    """Record of a model in code, or None."""
    load_models_file()
    return _MODELS[name][0] if name in _MODELS else None


def list_models() -> list[ModelInfo]:
    """All models, the users' own last; those whose weights are not at hand included."""
    return [info for info, _ in entries().values()]


def entries() -> dict[str, tuple[ModelInfo, Factory]]:
    """Record and factory of all models by name, the users' own last."""
    load_models_file()
    found = dict(_MODELS)
    for provider in model_providers():
        found |= provider.entries()
    return found


def entry(name: str) -> tuple[ModelInfo, Factory]:
    """Record and factory of a model in code, else of one that a user has added, perhaps elsewhere and just now.

    Raises:
        ModelError: if there is none of that name.
    """
    load_models_file()
    found = _MODELS.get(name) or _DESCRIBED.get(name) or _provided(name)
    if found is None:
        raise ModelError(f"there is no model {name!r}; allowed: " + ", ".join(sorted(entries())))
    return found


def _provided(name: str) -> ModelEntry | None:
    found = (provider.entry(name) for provider in model_providers())
    return next((entry for entry in found if entry is not None), None)


def register_described(given: Mapping[str, Any], dataset: str) -> str:
    """Make a model known in this process that a recipe describes; returns its name.

    Args:
        given: Fields of `models.user.description.FIELDS`, or "onnx" or "huggingface" and the preprocessing.
        dataset: Dataset it is scored on.

    Raises:
        FieldError: naming the field, the value and what is allowed.
    """
    (provider,) = model_providers()
    info, factory = provider.described(given, dataset)
    _DESCRIBED[info.name] = (info, factory)
    return info.name


def is_of_file(name: str) -> bool:
    """Whether a model is of the Python file that the user has named."""
    load_models_file()
    return name in _OF_FILE


def is_own(name: str) -> bool:
    """Whether a user has added a model through a page or a command, so that it can be removed there."""
    return _provided(name) is not None


def variants(name: str) -> dict[str, Factory]:
    """Factories of the smaller architectures that a model in code was registered with, by name."""
    return dict(_STUDENTS[name])


def model_info(name: str) -> ModelInfo:
    """Record of one model.

    Raises:
        ModelError: if there is none of that name.
    """
    return entry(name)[0]


def build_model(name: str) -> nn.Module:
    """The architecture with untrained weights."""
    return entry(name)[1]()


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
    """SHA-256 of a model's weights file, or of those of its shards."""
    hashes = []
    main = weights_path(name)
    for path in onnx_files(main) if main.suffix == ONNX else weight_files(main):
        known = path.stat()
        hashes.append(_file_hash(path, known.st_mtime_ns, known.st_size))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("|".join(hashes).encode()).hexdigest()


def model_identity(name: str) -> str:
    """What results of a model depend on: its weights, its record but for texts, and the code that builds and feeds it.

    Raises:
        ModelError: if there is no such model, or its weights are not here.
    """
    info, weights = model_info(name), weights_hash(name)
    plain = replace(info, **{text: ModelInfo.__dataclass_fields__[text].default for text in _TEXTS}, name="", title="",
                    description="")
    parts = [weights, repr(plain), code_of(name), models_file.file_digest() if name in _OF_FILE else ""]
    parts += [info.configuration] if info.configuration else []
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def code_of(name: str) -> str:
    """Digest of the code of a model's architecture; of a user's model that of what builds it.

    Raises:
        ModelError: if there is no such model.
    """
    info, factory = entry(name)
    if name in _OF_FILE:
        return architecture_code("models.models_file")
    if info.architecture is None:
        return architecture_code(factory.__module__)
    usual = _MODELS.get(info.architecture)
    known = usual is not None and info.architecture not in _OF_FILE
    if usual is not None and known:
        return architecture_code(usual[1].__module__)
    (provider,) = model_providers()
    return architecture_code(provider.code_module(info))


@lru_cache(maxsize=64)
def _file_hash(path: Path, changed: int, size: int) -> str:
    del changed, size  # a file that has changed is another one
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
    if path.suffix == ONNX:
        return build_model(name).eval()
    as_written = name in _DESCRIBED and info.configuration  # by transformers, under its names
    model = build_model(name)
    checkpoint = read_folder(path.parent).checkpoint(name) if as_written else read_checkpoint(path, ema=info.ema)
    if info.release is not None and path == info.release.path():
        if not weights_hash(name).startswith(info.release.sha256):
            raise ModelError(f"the weights of {name!r} are damaged: {path.name} has not the published SHA-256")
        checkpoint = Checkpoint(info.release.in_our_names(checkpoint.tensors), checkpoint.versions, checkpoint.report)
    _load(model, checkpoint, name)
    return bake(model).eval()


def _load(model: nn.Module, checkpoint: Checkpoint, name: str) -> None:
    """Put weights into a network; where it computes its weights from others, the file may hold either."""
    try:
        load_checkpoint(model, checkpoint, name)
    except MismatchError:
        if not has_parametrizations(model):
            raise
        load_checkpoint(bake(model), checkpoint, name)
