"""Sources of models and datasets beside those registered in code: each a module `provider` of a package of `models`."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Protocol

from torch import nn

from models.info import ModelInfo

ModelEntry = tuple[ModelInfo, Callable[[], nn.Module]]


class ModelProvider(Protocol):
    """Models that come and go while the program runs."""

    def entries(self) -> dict[str, ModelEntry]:
        """Records and factories of all models by name."""
        ...

    def entry(self, name: str) -> ModelEntry | None:
        """Record and factory of one model, or None."""
        ...

    def described(self, given: Mapping[str, Any], dataset: str) -> ModelEntry:
        """Record and factory of a model that a recipe describes; raises a FieldError."""
        ...

    def code_module(self, info: ModelInfo) -> str:
        """Name of the module whose code builds a model."""
        ...


class DatasetProvider(Protocol):
    """Datasets that come and go while the program runs; records and loaders are those of `models.datasets.registry`."""

    def entries(self) -> dict[str, Any]:
        """Records and loaders of all datasets by name."""
        ...

    def entry(self, name: str) -> Any:
        """Record and loader of one dataset, or None."""
        ...

    def identity(self, name: str) -> str:
        """Changes when another dataset takes the name; empty where there is none."""
        ...

    def is_here(self, name: str) -> bool:
        """Whether the data of a dataset are on this machine."""
        ...

    def paths(self, name: str) -> tuple[Path, ...]:
        """Files and folders of a dataset; empty where they are gone."""
        ...

    def code_module(self) -> str:
        """Name of the module whose code reads the datasets."""
        ...


_MODELS: list[ModelProvider] = []
_DATASETS: list[DatasetProvider] = []


def register_providers(models: ModelProvider, *datasets: DatasetProvider) -> None:
    """Make a source of models, and sources of datasets, known to the registries."""
    _MODELS.append(models)
    _DATASETS.extend(datasets)


def model_providers() -> list[ModelProvider]:
    """All sources of models."""
    _discover()
    return _MODELS


def dataset_providers() -> list[DatasetProvider]:
    """All sources of datasets."""
    _discover()
    return _DATASETS


@lru_cache(maxsize=1)
def _discover() -> None:
    folder = Path(__file__).parent
    for package in iter_modules([str(folder)]):
        if (folder / package.name / "provider.py").is_file():
            import_module(f"models.{package.name}.provider")
