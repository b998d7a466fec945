"""Values in the layers of results, found by the workers when they are first asked for; part of the service."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from compression.experiments import side_jobs
from compression.experiments.distribution import LayerDistributions, distribution_key, read_distributions
from compression.experiments.store import ResultStore

if TYPE_CHECKING:
    from compression.experiments.engine import Engine

_PRIORITY = 50


class Distributions:
    """Which values each layer's weights, inputs and outputs have before and after.

    Args:
        store: Where they are kept.
        engine: Its workers.
        lost: Called with a job's key and a reason if a worker was lost.
    """

    def __init__(self, store: ResultStore, engine: "Engine", lost: Callable[[str, str], None]) -> None:
        self._store, self._engine, self._lost = store, engine, lost

    def job(self, key: str) -> str:
        """Key of the job that looks at a result's layers.

        Raises:
            InputError: if the result's files are not there.
        """
        return distribution_key(self._store, key)

    def submit(self, key: str) -> str:
        """Have a result's layers looked at; returns the job's key at once. Raises what `job` does."""
        job = self.job(key)
        if self._store.jobs([job]).get(job, {}).get("state") not in ("queued", "running"):
            self._store.put_job(job, "queued", 0.0, "waiting")
            self._engine.submit_stages(job, ((side_jobs.distribute, False),), (key,), _PRIORITY, self._lost)
        return job

    def get(self, key: str, fqn: str) -> LayerDistributions | None:
        """One layer of a result, or None while it has not been looked at. Raises what `job` does."""
        return read_distributions(self._store, key, fqn)
