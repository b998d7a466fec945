"""Which datasets a model can be scored on, and which of them are on this machine."""

from collections.abc import Iterable
from dataclasses import dataclass

from compression.core.errors import InputError
from compression.experiments.tasks import dataset_of, fitting_datasets
from models import datasets


@dataclass(frozen=True)
class ScoringData:
    """A dataset that fits a model.

    Attributes:
        name: Its name.
        title: Name for people.
        n_test: Samples that are scored.
        here: Whether it is on this machine.
    """

    name: str
    title: str
    n_test: int
    here: bool


def scoring_data(model: str) -> tuple[ScoringData, ...]:
    """All datasets that fit a model, its own first.

    Raises:
        InputError: if there is no such model.
    """
    known = {info.name: info for info in datasets.list_datasets()}
    fitting = [known[name] for name in fitting_datasets(model) if name in known]
    return tuple(ScoringData(info.name, info.title, info.n_test, datasets.has_data(info.name)) for info in fitting)


def usual_data(model: str, fitting: Iterable[ScoringData]) -> str:
    """Where nobody says anything: the model's own, or the first that is here where that one is not."""
    return next((data.name for data in fitting if data.here), dataset_of(model))


def dataset_for(model: str, asked: str | None) -> str:
    """The dataset that a command scores a model on: the one asked for, else the model's own.

    Raises:
        InputError: if the model is unknown, or what was asked for does not fit it, naming all that do.
    """
    own = dataset_of(model)
    if asked is None or asked == own:
        return own
    fitting = scoring_data(model)
    if all(asked != data.name for data in fitting):
        raise InputError("--dataset", asked, f"allowed for {model}: {listed(fitting)}")
    return asked


def listed(fitting: Iterable[ScoringData]) -> str:
    """Names of datasets, those that are not here marked."""
    return ", ".join(data.name if data.here else f"{data.name} (not on this machine)" for data in fitting)
