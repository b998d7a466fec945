"""Work of the service's own threads: downloads and removals, which wait for network or disk and compute nothing.

They have jobs in the store like everything else, so that pages follow and cancel them in the same way, and leave the
worker processes to those who measure.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from compression.experiments.store import ResultStore
from compression.jobs.experiment_jobs import Progress, side_stage

Work = Callable[[Progress, Callable[[], bool]], object]
UNFINISHED = ("queued", "running")
_AT_ONCE = 2
_LOOK_SECONDS = 0.2


@dataclass
class _Errand:
    """A thread and what tells it to stop."""

    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Errands:
    """Runs two at a time; further ones wait.

    Args:
        store: Where their jobs are.
    """

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._free = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._errands: dict[str, _Errand] = {}

    def start(self, job: str, work: Work) -> None:
        """Have work done unless it is under way already. One that was cancelled and has not stopped yet goes first."""
        with self._lock:
            before = self._errands.get(job)
            alive = before is not None and before.thread is not None and before.thread.is_alive()
            state = self._store.jobs([job]).get(job, {}).get("state")
            if alive and state in UNFINISHED:
                return
            if before is not None:
                before.stop.set()
            errand = _Errand()
            own = threading.Thread(target=self._run, args=(job, work, errand, before), name=job, daemon=True)
            errand.thread, self._errands[job] = own, errand
            self._store.put_job(job, "queued", 0.0, "waiting")
            own.start()

    def _run(self, job: str, work: Work, errand: _Errand, before: _Errand | None) -> None:
        if before is not None and before.thread is not None:
            before.thread.join()
        while not self._free.acquire(timeout=_LOOK_SECONDS):
            if errand.stop.is_set() or self._store.jobs([job]).get(job, {}).get("state") != "queued":
                return
        try:
            if not errand.stop.is_set():
                side_stage(str(self._store.root), job, lambda store, progress, cancelled: work(
                    progress, lambda: errand.stop.is_set() or cancelled()
                ))
        finally:
            self._free.release()

    def join(self, job: str, timeout: float | None = None) -> None:
        """Wait until a job's thread has ended."""
        errand = self._errands.get(job)
        if errand is not None and errand.thread is not None:
            errand.thread.join(timeout)

    def close(self) -> None:
        """Tell all of them to stop; what is half done is gone on with another time."""
        with self._lock:
            for errand in self._errands.values():
                errand.stop.set()
