"""What results are compared by, found by the workers when it is first asked for; part of the service."""

from collections.abc import Callable
from typing import Any

from compression.analysis.differences import Difference, difference_key, read_difference
from compression.analysis.weight_statistics import LayerWeights, read_statistics, statistics_key
from compression.jobs import side_jobs
from compression.jobs.side_work import SideWork

_KEPT = 32


class Comparisons(SideWork):
    """Differences between two results' predictions, and statistics of a result's weights."""

    priority = 70

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._known: dict[str, Any] = {}

    def difference_job(self, first: str, second: str) -> str:
        """Key of the job that compares the predictions of two results."""
        return difference_key(first, second)

    def submit_difference(self, first: str, second: str) -> str:
        """Have the predictions of two results compared unless they are; returns the job's key at once."""
        job, arguments = difference_key(first, second), (first, second)
        return self._start(job, ((side_jobs.compare, False),), arguments, lambda: self.difference(first, second))

    def difference(self, first: str, second: str) -> Difference | None:
        """What the second result does otherwise than the first, or None while that is not known."""
        return self._read(difference_key(first, second), lambda: read_difference(self._store, first, second))

    def weights_job(self, key: str) -> str:
        """Key of the job that counts the weights of a result."""
        return statistics_key(key)

    def submit_weights(self, key: str) -> str:
        """Have the weights of a result counted unless they are; returns the job's key at once."""
        return self._start(
            statistics_key(key), ((side_jobs.count_weights, False),), (key,), lambda: self.weights(key)
        )

    def weights(self, key: str) -> tuple[LayerWeights, ...] | None:
        """Statistics per layer of a result's weights, or None while they are not known."""
        return self._read(statistics_key(key), lambda: read_statistics(self._store, key))

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
