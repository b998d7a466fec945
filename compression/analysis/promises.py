"""Promises of results in the store: made when a search has measured its finalists, read by pages and bundles."""

import json
from collections.abc import Callable
from typing import Any

from compression.analysis.promise import Promise, by_sample, data_used, promise_between, promise_from_dict
from compression.experiments.pairing import pack
from compression.experiments.scoring_data import scoring_data
from compression.experiments.store import ResultStore
from compression.experiments.tasks import load_task
from compression.recipe import Recipe

PROMISE = "promise"
MEMBER = "promise.json"


class Promises:
    """The promises of one store.

    Args:
        store: Where they are kept, beside results.
        changed: Called with the key of a result that has a new promise.
    """

    def __init__(self, store: ResultStore, changed: Callable[[str], object]) -> None:
        self._store, self._changed = store, changed

    def make(self, key: str, baseline: str, limit: float) -> Promise | None:
        """What is shown of a limit of accuracy, kept beside the result for its bundle; None where nothing can be said.

        Args:
            key: Of a result that is scored on the whole test split.
            baseline: Of the uncompressed model's.
            limit: Points that may be lost.
        """
        scores = self._store.scores([key, baseline])
        found = promise_between(scores.get(baseline), scores.get(key), limit)
        if found is not None:
            self._store.put_part(key, PROMISE, {**found.to_dict(), "baseline": baseline})
            self._changed(key)
        return found

    def get(self, key: str) -> Promise | None:
        """The promise that the last search made for a result, or None."""
        part = self._store.get_part(key, PROMISE)
        return None if part is None else promise_from_dict(part)

    def test_samples(self, model: str, dataset: str) -> int:
        """Samples of a model's test split on a dataset; 0 where they are not known."""
        return next((data.n_test for data in scoring_data(model) if data.name == dataset), 0)

    def data(self, model: str, dataset: str) -> dict[str, str]:
        """What data each step of a search uses.

        Raises:
            InputError: if the model or dataset is unknown or unavailable.
        """
        return data_of(model, dataset)


def data_of(model: str, dataset: str) -> dict[str, str]:
    """What data each step of a search of a model uses; see `compression.analysis.promise.data_used`.

    Raises:
        InputError: if the model or dataset is unknown or unavailable.
    """
    task = load_task(Recipe(model, dataset))
    sizes = len(task.calibration_split), len(task.selection_split), len(task.dataset.test)
    return data_used(dataset, task.dataset.validation is not None, *sizes)


def promise_member(store: ResultStore, key: str, model: str, dataset: str) -> dict[str, bytes]:
    """The certificate of a bundle, with all that checks it; empty where no promise was made."""
    part = store.get_part(key, PROMISE)
    if part is None:
        return {}
    scores = store.scores([part["baseline"]]).get(part["baseline"])
    if scores is None or scores.whole is None:
        return {}
    right = by_sample(scores.whole)
    content: dict[str, Any] = {
        **promise_from_dict(part).to_dict(), "text": promise_from_dict(part).text, "data": data_of(model, dataset),
        "uncompressed_right": {"shape": list(right.shape), "bits": pack(right)},
    }
    return {MEMBER: json.dumps(content, indent=1).encode()}
