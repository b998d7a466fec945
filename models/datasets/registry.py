"""Registry of datasets and the records they are made of."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import torch
from torch import Tensor

from models.datasets.class_folders import Labels
from models.datasets.decoded import MappedImages
from models.datasets.imagenet_classes import COUNT as IMAGENET_CLASSES
from models.datasets.views import ImageView
from models.errors import ModelError
from models.providers import DatasetProvider, dataset_providers
from models.registry import load_models_file
from models.source_code import dataset_code
from models.sources.downloads import Download, Progress
from models.sources.locations import find_data

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a dataset without loading it.

    Attributes:
        name: Registry key.
        title: Name for people.
        task: "image_classification", "regression", "language_modeling" or "text_classification".
        num_classes: Classes that its labels count, or size of the vocabulary; 1 for values. Not all need occur.
        input_shape: Of one sample; of resized photographs that of the usual view.
        n_train: Training samples.
        n_test: Test samples.
        source: Where it is from.
        license: Licence of the data.
        class_names: Name per class.
        metric: What is counted.
        needs: Files or folders below the data roots of which one must be there; none where it comes along.
        resized: Whether it consists of photographs of any size, which are resized as a model wants them.
        bundled_train: Training samples that are shipped with the project, beside the whole test split, where the full
            dataset has to be fetched; 0 where nothing is shipped, or everything.
        imagenet_names: Whether its classes are ImageNet's by name, so that models of 1,000 classes get these labels.
    """

    name: str
    title: str
    task: str
    num_classes: int
    input_shape: tuple[int, ...]
    n_train: int
    n_test: int
    source: str
    license: str
    class_names: tuple[str, ...] = ()
    metric: str = "accuracy"
    needs: tuple[str, ...] = ()
    resized: bool = False
    bundled_train: int = 0
    imagenet_names: bool = False

    def has_classes(self, count: int) -> bool:
        """Whether its labels are those of a model of so many classes."""
        return count == self.num_classes or (self.imagenet_names and count == IMAGENET_CLASSES)


@dataclass
class Split:
    """Samples and their targets.

    Attributes:
        inputs: uint8 images (N, C, H, W), in memory or mapped from disk, or int64 token ids (N, T).
        targets: int64 classes (N,), next tokens (N, T), or float32 values (N,).
    """

    inputs: Tensor | MappedImages
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def subset(self, n: int, seed: int) -> "Split":
        """A fixed subset of n samples: stratified by class (values: by tenth) for images, evenly spaced for text."""
        return self if n >= len(self) else self.taken(self.rows(n, seed))

    def rows(self, n: int, seed: int) -> Tensor:
        """Indices of that subset, (n,)."""
        return self._evenly_spaced(n) if self.targets.ndim > 1 else self._stratified(n, seed)

    def divided(self, n: int, seed: int) -> tuple["Split", "Split"]:
        """The same fixed subset of n samples, and all others."""
        rest = torch.ones(len(self), dtype=torch.bool)
        rows = self.rows(n, seed)
        rest[rows] = False
        return self.taken(rows), self.taken(rest.nonzero().flatten())

    def set_apart(self, n: int, seed: int, besides: tuple[int, int]) -> tuple["Split", "Split"]:
        """n fixed samples and all others.

        Args:
            n: How many.
            seed: Of their choice.
            besides: Size and seed of a subset that they are not in, where it leaves so many.
        """
        free = torch.ones(len(self), dtype=torch.bool)
        free[self.rows(min(besides[0], len(self)), besides[1])] = False
        rows = free.nonzero().flatten() if int(free.sum()) >= n else torch.arange(len(self))
        rows = rows[self.taken(rows).rows(n, seed)]
        rest = torch.ones(len(self), dtype=torch.bool)
        rest[rows] = False
        return self.taken(rows), self.taken(rest.nonzero().flatten())

    def taken(self, rows: Tensor) -> "Split":
        """The samples of these indices."""
        mapped = isinstance(self.inputs, MappedImages)
        return Split(self.inputs.taken(rows) if mapped else self.inputs[rows], self.targets[rows])

    def _evenly_spaced(self, n: int) -> Tensor:
        return torch.linspace(0, len(self) - 1, n).round().long()

    def _stratified(self, n: int, seed: int) -> Tensor:
        """Shuffle within each class, then take from all classes in proportion."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self), generator=generator)
        classes = (tenths(self.targets) if self.targets.is_floating_point() else self.targets)[order]
        position = torch.empty(len(self), dtype=torch.float64)
        for label in classes.unique():
            members = (classes == label).nonzero().flatten()
            position[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
        return order[torch.argsort(position, stable=True)[:n]].sort().values


def tenths(values: Tensor) -> Tensor:
    """Tenth of the sorted values that each belongs to, int64: groups to stratify values by."""
    ranks = values.argsort(stable=True).argsort(stable=True)
    return 10 * ranks // max(1, len(values))


def keep_as_is(batch: Tensor, generator: torch.Generator) -> Tensor:
    """No augmentation."""
    del generator
    return batch


@dataclass
class Dataset:
    """A loaded dataset.

    Attributes:
        info: Its record.
        train: For training, calibration and recovery.
        test: For scoring only.
        augment: ``(raw batch, generator) -> raw batch`` for training.
        skipped: Files that could not be read and are in no split.
        validation: To choose between candidates on; None where a part of `train` is taken for it.
    """

    info: DatasetInfo
    train: Split
    test: Split
    augment: Augment = keep_as_is
    skipped: tuple[str, ...] = ()
    validation: Split | None = None

    def make_ready(self, progress: Progress, cancelled: Callable[[], bool]) -> None:
        """Do ahead what the first use of a split would otherwise wait for; these samples are in memory already."""
        del progress, cancelled

    def glance(self, n: int, seed: int) -> tuple[Tensor, Tensor]:
        """A few test samples and their targets, to look at."""
        few = self.test.subset(n, seed)
        return few.inputs[:], few.targets

    @cached_property
    def content_hash(self) -> str:
        """Hash of both splits; 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            for tensor in (split.inputs, split.targets):
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


Loader = Callable[..., Dataset]
_DATASETS: dict[str, tuple[DatasetInfo, Loader]] = {}
_DOWNLOADS: dict[str, Callable[[], Download]] = {}


def register_dataset(info: DatasetInfo, download: Callable[[], Download] | None = None) -> Callable[[Loader], Loader]:
    """Decorator that registers a loader: without arguments, or with an `ImageView` where the record says "resized".

    Args:
        info: Its record.
        download: What fetches it from its public home, where it may be fetched.
    """

    def decorate(loader: Loader) -> Loader:
        _DATASETS[info.name] = (info, loader)
        if download is not None:
            _DOWNLOADS[info.name] = download
        return loader

    return decorate


@lru_cache(maxsize=1)
def _discover() -> None:
    package = import_module("models.datasets")
    for module in iter_modules(package.__path__):
        import_module(f"models.datasets.{module.name}")


def list_datasets() -> list[DatasetInfo]:
    """All datasets, at hand or not, the users' own last."""
    return [info for info, _ in _all().values()]


def _all() -> dict[str, tuple[DatasetInfo, Loader]]:
    _find_registered()
    found = dict(_DATASETS)
    for provider in dataset_providers():
        found |= provider.entries()
    return found


def _provider(name: str) -> DatasetProvider | None:
    """The source that has a dataset, or None."""
    return next((provider for provider in dataset_providers() if provider.entry(name) is not None), None)


def _entry(name: str) -> tuple[DatasetInfo, Loader]:
    """A dataset in code, else one that a user has added, perhaps in another process and just now."""
    _find_registered()
    provider = None if name in _DATASETS else _provider(name)
    found = _DATASETS.get(name) if provider is None else provider.entry(name)
    if found is None:
        raise ModelError(f"there is no dataset {name!r}; allowed: " + ", ".join(sorted(_all())))
    return found


def _find_registered() -> None:
    """Datasets in code; a user's Python file may register some, too."""
    _discover()
    load_models_file()


def dataset_info(name: str) -> DatasetInfo:
    """Record of one dataset.

    Raises:
        ModelError: if there is none of that name.
    """
    return _entry(name)[0]


def is_registered(name: str) -> bool:
    """Whether a dataset is one in code, rather than one that a user has added."""
    _find_registered()
    return name in _DATASETS


def data_identity(name: str) -> str:
    """Changes when a dataset is removed, comes to lie elsewhere, or is replaced by another one of the same name."""
    if is_registered(name):
        return "|".join(map(str, data_paths(name)))
    provider = _provider(name)
    return "" if provider is None else provider.identity(name)


def code_of(name: str) -> str:
    """Digest of the code that reads, decodes and augments a dataset.

    Raises:
        ModelError: if there is none of that name.
    """
    module = _entry(name)[1].__module__ if is_registered(name) else ""
    provider = _provider(name)
    if provider is not None and not module:
        module = provider.code_module()
    return dataset_code(module)


def has_data(name: str) -> bool:
    """Whether a dataset can be used on this machine."""
    return has_full_data(name) or bool(dataset_info(name).bundled_train)


def has_full_data(name: str) -> bool:
    """Whether a dataset is on this machine with all its samples, rather than with those shipped with the project."""
    if not is_registered(name):
        provider = _provider(name)
        return provider is not None and provider.is_here(name)
    return not dataset_info(name).needs or bool(data_paths(name))


def data_paths(name: str) -> tuple[Path, ...]:
    """What is on this machine of the files and folders of which a dataset needs one; of a user's its folder."""
    if not is_registered(name):
        provider = _provider(name)
        return () if provider is None else provider.paths(name)
    found = (find_data(relative) for relative in dataset_info(name).needs)
    return tuple(path for path in found if path is not None)


def dataset_download(name: str) -> Download | None:
    """What fetches a dataset from its public home; None where it comes along or may not be fetched.

    Raises:
        ModelError: if there is none of that name.
    """
    dataset_info(name)
    return _DOWNLOADS[name]() if name in _DOWNLOADS else None


def missing(info: DatasetInfo) -> ModelError:
    """The error of a dataset that is not on this machine, with what can be done about it."""
    ways = f"put {' or '.join(info.needs)} below COMPRESSION_DATA"
    if info.name in _DOWNLOADS:
        ways = f"fetch it with: python -m compression download {info.name}, or {ways}"
    return ModelError(f"the dataset {info.name!r} is not here; {ways}")


def load_dataset(name: str, view: ImageView | None = None, num_classes: int | None = None) -> Dataset:
    """Load a dataset, or return the one in memory.

    Args:
        name: Its name.
        view: How photographs are resized; the usual one by default, and of no meaning to other datasets.
        num_classes: Those of the model; of class folders with ImageNet's names, 1,000 get ImageNet's labels.

    Raises:
        ModelError: if it is unknown or not on this machine.
    """
    info = dataset_info(name)
    labels = Labels.IMAGENET if num_classes not in (None, info.num_classes) and info.has_classes(num_classes) else None
    return _load(name, (view or ImageView()) if info.resized else None, labels, data_identity(name))


@lru_cache(maxsize=6)
def _load(name: str, view: ImageView | None, labels: str | None, identity: str) -> Dataset:
    del identity
    loader: Any = _entry(name)[1]
    given = () if view is None else (view,) if labels is None else (view, labels)
    return loader(*given)
