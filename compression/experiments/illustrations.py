"""Pictures of techniques, made by the workers when they are first asked for; part of the service."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from compression.experiments import side_jobs
from compression.experiments.illustration import Illustration, illustration_key, read_illustration
from compression.experiments.store import ResultStore

if TYPE_CHECKING:
    from compression.experiments.engine import Engine

_PRIORITY = 60


class Illustrations:
    """What each technique does to a layer of each model.

    Args:
        store: Where they are kept.
        engine: Its workers.
        lost: Called with a job's key and a reason if a worker was lost.
    """

    def __init__(self, store: ResultStore, engine: "Engine", lost: Callable[[str, str], None]) -> None:
        self._store, self._engine, self._lost = store, engine, lost

    def job(self, model: str, technique: str) -> str:
        """Key of the job that makes an illustration.

        Raises:
            InputError: if the technique is unknown, or the model is or has no weights here.
        """
        return illustration_key(model, technique)

    def submit(self, model: str, technique: str) -> str:
        """Have an illustration made unless it is there; returns the job's key at once. Raises what `job` does."""
        job = self.job(model, technique)
        state = self._store.jobs([job]).get(job, {}).get("state")
        if state not in ("queued", "running") and self.get(model, technique) is None:
            self._store.put_job(job, "queued", 0.0, "waiting")
            stages = ((side_jobs.illustrate, False),)
            self._engine.submit_stages(job, stages, (model, technique), _PRIORITY, self._lost)
        return job

    def get(self, model: str, technique: str) -> Illustration | None:
        """The illustration, or None while there is none."""
        return read_illustration(self._store, model, technique)
