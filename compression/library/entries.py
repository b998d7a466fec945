"""What is known of each model and dataset: whose it is, whether it is here, what was measured of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compression.experiments.results import ExperimentResult
from compression.experiments.tasks import fitting_datasets
from compression.library.catalogue import downloaded_on, removable, unfinished_bytes
from compression.problems import PROBLEMS
from models import datasets, registry
from models.errors import ModelError
from models.parameters import count_parameters
from models.sources.downloads import Download
from models.sources.locations import place_of
from models.sources.origins import WeightsOrigin

_BYTES_PER_PARAMETER = 4
TASKS = {problem.key: problem.title for problem in PROBLEMS.values()}


@dataclass(frozen=True)
class Fetchable:
    """What can be said of a download.

    Attributes:
        about_bytes: Its size as far as it is known beforehand.
        estimated: Whether that is computed from the number of parameters.
        url: Where it is fetched from first.
        source: Who publishes it.
        license: Under which licence.
        unfinished_bytes: What an earlier try has left.
        removable: Whether something of it lies here that may be removed.
        date: When it was downloaded here, ISO; None where it was not.
    """

    about_bytes: int | None
    estimated: bool
    url: str
    source: str
    license: str
    unfinished_bytes: int
    removable: bool
    date: str | None


@dataclass(frozen=True)
class ModelEntry:
    """A model as the library shows it.

    Attributes:
        info: Its registry record.
        parameters: How many it has; None while they are counted.
        origin: Whose weights are at hand; None where none are.
        card: Command, date and accuracy of a training by this project; empty for other people's weights.
        size_bytes: Size of the weights file at hand.
        download: What can be fetched, if anything.
        datasets: Names of the datasets that it can be scored on, its own first.
        baselines: Results of the untouched model by dataset.
    """

    info: registry.ModelInfo
    parameters: int | None
    origin: WeightsOrigin | None
    card: Mapping[str, Any]
    size_bytes: int | None
    download: Fetchable | None
    datasets: tuple[str, ...]
    baselines: Mapping[str, ExperimentResult] = field(default_factory=dict)

    @property
    def here(self) -> bool:
        """Whether it can be used."""
        return self.origin is not None

    @property
    def baseline(self) -> ExperimentResult | None:
        """The untouched model's result on its own dataset."""
        return self.baselines.get(self.info.dataset)

    @property
    def published_accuracy(self) -> float | None:
        """What its authors state of the weights at hand, else of those that can be fetched."""
        return self.info.published_accuracy if self.origin is None else self.origin.published_accuracy

    @property
    def published_on(self) -> str:
        """On which data the authors' figure holds, where that is other data than is scored here."""
        return "ImageNet's validation set" if self.info.num_classes == 1000 else ""


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset as the library shows it.

    Attributes:
        info: Its record.
        here: Whether it can be used.
        place: Where it lies, in words; empty where it is not here.
        paths: The files or folders at hand by which it was found; none where it comes along.
        download: What can be fetched, if anything.
        models: Names of the models that it is the usual dataset of.
    """

    info: datasets.DatasetInfo
    here: bool
    place: str
    paths: tuple[Path, ...]
    download: Fetchable | None
    models: tuple[str, ...]

    @property
    def partial(self) -> bool:
        """Whether only the samples shipped with the project are here, and a download has the others."""
        return self.here and not self.paths and bool(self.info.bundled_train)

    @property
    def n_train(self) -> int:
        """Training samples that are here, or that the dataset has where none are."""
        return self.info.bundled_train if self.partial else self.info.n_train


def model_entries(
    results: Sequence[ExperimentResult], parameters: Callable[[str], int | None] = count_parameters
) -> list[ModelEntry]:
    """All models, ordered by task and dataset.

    Args:
        results: Results of untouched models, oldest first.
        parameters: How many a model has; None where that is not known yet.
    """
    baselines: dict[str, dict[str, ExperimentResult]] = {}
    for result in results:
        baselines.setdefault(str(result.recipe["model"]), {})[str(result.recipe["dataset"])] = result
    entries = [_model(info, parameters(info.name), baselines.get(info.name, {})) for info in registry.list_models()]
    return sorted(entries, key=lambda entry: _order(entry.info.task, entry.info.dataset))


def dataset_entries() -> list[DatasetEntry]:
    """All datasets, ordered by task."""
    infos = registry.list_models()
    entries = []
    for info in datasets.list_datasets():
        paths, here = datasets.data_paths(info.name), datasets.has_data(info.name)
        place = (place_of(paths[0]) if paths else "bundled") if here else ""
        users = tuple(model.name for model in infos if model.dataset == info.name)
        download = _fetchable(datasets.dataset_download(info.name), None)
        entries.append(DatasetEntry(info, here, place, paths, download, users))
    return sorted(entries, key=lambda entry: _order(entry.info.task, entry.info.name))


def _order(task: str, dataset: str) -> tuple[int, bool, int, str]:
    """By task; bundled datasets first, then by the size of a sample."""
    tasks = list(TASKS)
    info, place = datasets.dataset_info(dataset), tasks.index(task) if task in tasks else len(tasks)
    return place, not _is_bundled(info), math.prod(info.input_shape), dataset


def _is_bundled(info: datasets.DatasetInfo) -> bool:
    return not info.needs or bool(info.bundled_train)


def _model(
    info: registry.ModelInfo, parameters: int | None, baselines: Mapping[str, ExperimentResult]
) -> ModelEntry:
    guess = None if parameters is None else _BYTES_PER_PARAMETER * parameters
    try:
        origin = registry.weights_origin(info.name)
    except ModelError:
        origin = None
    return ModelEntry(
        info, parameters, origin, registry.model_card(info.name) if origin is not None and origin.ours else {},
        None if origin is None else origin.path.stat().st_size,
        _fetchable(registry.model_download(info.name), guess),
        fitting_datasets(info.name), baselines,
    )


def _fetchable(download: Download | None, guess: int | None) -> Fetchable | None:
    if download is None:
        return None
    known = download.about_bytes()
    return Fetchable(
        guess if known is None else known, known is None, download.files[0].url, download.source, download.license,
        unfinished_bytes(download), bool(removable(download)), downloaded_on(download.name),
    )
