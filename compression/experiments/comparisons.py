"""What results are compared by, found by the workers when it is first asked for; part of the service."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from compression.experiments import side_jobs
from compression.experiments.differences import Difference, difference_key, read_difference
from compression.experiments.store import ResultStore
from compression.experiments.weight_statistics import LayerWeights, read_statistics, statistics_key

if TYPE_CHECKING:
    from compression.experiments.engine import Engine

_PRIORITY = 70
_KEPT = 32


class Comparisons:
    """Differences between two results' predictions, and statistics of a result's weights.

    Args:
        store: Where they are kept.
        engine: Its workers.
        lost: Called with a job's key and a reason if a worker was lost.
    """

    def __init__(self, store: ResultStore, engine: "Engine", lost: Callable[[str, str], None]) -> None:
        self._store, self._engine, self._lost = store, engine, lost
        self._known: dict[str, Any] = {}

    def difference_job(self, first: str, second: str) -> str:
        """Key of the job that compares the predictions of two results."""
        return difference_key(first, second)

    def submit_difference(self, first: str, second: str) -> str:
        """Have the predictions of two results compared unless they are; returns the job's key at once."""
        found = self.difference(first, second) is not None
        return self._submit(difference_key(first, second), side_jobs.compare, (first, second), found)

    def difference(self, first: str, second: str) -> Difference | None:
        """What the second result does otherwise than the first, or None while that is not known."""
        return self._read(difference_key(first, second), lambda: read_difference(self._store, first, second))

    def weights_job(self, key: str) -> str:
        """Key of the job that counts the weights of a result."""
        return statistics_key(key)

    def submit_weights(self, key: str) -> str:
        """Have the weights of a result counted unless they are; returns the job's key at once."""
        return self._submit(statistics_key(key), side_jobs.count_weights, (key,), self.weights(key) is not None)

    def weights(self, key: str) -> tuple[LayerWeights, ...] | None:
        """Statistics per layer of a result's weights, or None while they are not known."""
        return self._read(statistics_key(key), lambda: read_statistics(self._store, key))

    def _submit(self, job: str, function: Callable[..., bool], arguments: Sequence[Any], found: bool) -> str:
        state = self._store.jobs([job]).get(job, {}).get("state")
        if state not in ("queued", "running") and not found:
            self._store.put_job(job, "queued", 0.0, "waiting")
            self._engine.submit_stages(job, ((function, False),), arguments, _PRIORITY, self._lost)
        return job

    def _read(self, key: str, read: Callable[[], Any]) -> Any:
        """Kept in memory: a page asks for it at each redraw."""
        if key not in self._known:
            found = read()
            if found is None:
                return None
            while len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)), None)
            self._known[key] = found
        return self._known.get(key)
