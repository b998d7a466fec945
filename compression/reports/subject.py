"""All that a report or a card tells of a result, as plain data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compression.analysis.promise import Promise, promise_from_dict
from compression.analysis.promises import PROMISE
from compression.analysis.runtime_records import RuntimeRecord, read_records
from compression.core.errors import InputError
from compression.experiments.pairing import Scores
from compression.experiments.results import ExperimentResult, plain_model
from compression.experiments.tasks import model_name
from compression.experiments.wording import file_stem
from compression.recipe import recipe_from_dict
from models import datasets, registry
from models.errors import ModelError

if TYPE_CHECKING:
    from compression.experiments.store import ResultStore

_SAME_MEASUREMENT = ("model", "dataset", "n_samples", "runtime")


@dataclass(frozen=True)
class Subject:
    """A result and its surroundings.

    Attributes:
        result: The result.
        others: Results of the same model, data and runtime, without this one; of equal recipes the newest.
        records: What was measured of it in further runtimes.
        model: Record of the model.
        dataset: Record of the dataset.
        weights_hash: SHA-256 of the uncompressed weights; empty where they are not here.
        scores: Which predictions were right, by key, as far as it is stored.
        promise: What the last search showed of a limit of accuracy; None where none made a promise.
    """

    result: ExperimentResult
    others: tuple[ExperimentResult, ...]
    records: tuple[RuntimeRecord, ...]
    model: registry.ModelInfo
    dataset: datasets.DatasetInfo
    weights_hash: str
    scores: Mapping[str, Scores] = field(default_factory=dict)
    promise: Promise | None = None

    @property
    def promise_lines(self) -> list[str]:
        """The promise in words, with the samples that it was made on; nothing without one."""
        if self.promise is None:
            return []
        used = f"a fixed half of the {self.promise.of_samples:,} test samples, which neither calibration nor choice saw"
        return [f"{self.promise.text}; {used}"]

    @property
    def threads(self) -> int:
        """Threads that its latency was measured with."""
        return recipe_from_dict(self.result.recipe).runtime.threads

    @property
    def file_stem(self) -> str:
        """What exported files are called, without an ending."""
        return file_stem(self.result)


def subject_of(store: "ResultStore", key: str) -> Subject:
    """Collect what is known of a stored result.

    Raises:
        InputError: if there is no such result, or its model or dataset is not known here.
    """
    result = store.get_result(key)
    if result is None:
        raise InputError("result", key, "the key of a stored result is needed")
    name = model_name(result.recipe["model"], str(result.recipe["dataset"]))
    try:
        info, data = registry.model_info(name), datasets.dataset_info(str(result.recipe["dataset"]))
    except ModelError as error:
        raise InputError("model", name, str(error)) from None
    weights = registry.weights_hash(name) if registry.has_weights(name) else ""
    others = comparable(result, store.results(model=plain_model(result.recipe["model"])))
    scores = store.scores([key, *(other.key for other in others)])
    part = store.get_part(key, PROMISE)
    promise = None if part is None else promise_from_dict(part)
    return Subject(result, others, tuple(read_records(store, key)), info, data, weights, scores, promise)


def comparable(result: ExperimentResult, results: list[ExperimentResult]) -> tuple[ExperimentResult, ...]:
    """Results that may stand beside one in a plot: the same model, data and runtime, on one clock.

    Args:
        result: The one.
        results: Candidates, oldest first; of equal recipes the last is taken.
    """
    def measured_as(other: ExperimentResult) -> list[object]:
        return [other.clock, *(other.recipe.get(name) for name in _SAME_MEASUREMENT)]

    own = json.dumps(result.recipe, sort_keys=True)
    fitting = [r for r in results if measured_as(r) == measured_as(result)]
    newest = {json.dumps(r.recipe, sort_keys=True): r for r in fitting}
    return tuple(r for recipe, r in newest.items() if recipe != own and r.figures.n_samples == result.figures.n_samples)

