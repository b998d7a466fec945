"""Work beside experiments that workers do when it is first asked for, and whose outcome is read from the store."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from compression.experiments.store import ResultStore

if TYPE_CHECKING:
    from compression.jobs.engine import Engine

Stages = tuple[tuple[Callable[..., bool], bool], ...]


class SideWork:
    """What each part of the service has that submits such work.

    Args:
        store: Where outcomes are kept.
        engine: Its workers.
        lost: Called with a job's key and a reason if a worker was lost.
    """

    priority: ClassVar[int]

    def __init__(self, store: ResultStore, engine: "Engine", lost: Callable[[str, str], None]) -> None:
        self._store, self._engine, self._lost = store, engine, lost

    def _start(
        self, job: str, stages: Stages, arguments: Sequence[Any], found: Callable[[], object | None] = lambda: None
    ) -> str:
        """Have work done unless it is under way or its outcome is there; returns the job's key at once.

        Args:
            job: Its key.
            stages: Functions of `side_jobs` in order, each with whether it must run where nothing else does.
            arguments: What they are given.
            found: Reads the outcome; None while there is none.
        """
        state = self._store.jobs([job]).get(job, {}).get("state")
        if state not in ("queued", "running") and found() is None:
            self._store.put_job(job, "queued", 0.0, "waiting")
            self._engine.submit_stages(job, stages, arguments, self.priority, self._lost)
        return job
