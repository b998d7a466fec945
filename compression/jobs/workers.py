"""Worker processes on this machine, on dask.distributed.

Streamlit makes the page script ``__main__``, inside which ``LocalCluster(processes=True)`` refuses to start; a
cluster of subprocesses does not import ``__main__`` and works from a page, a test and the command line alike. One
worker is tagged for timing, so that nothing else runs in the process that times. The first point of a fresh server
needs that worker and one that compresses; the others start once these two are ready, as all at once would only
make each other slower.
"""

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from distributed import Client, Future
from distributed.deploy.spec import SpecCluster
from distributed.deploy.subprocess import SubprocessScheduler, SubprocessWorker

from compression.experiments.code_version import CODE_VERSION, process_code
from compression.jobs import experiment_jobs, lifeline

_ROOT = Path(__file__).resolve().parents[2]
_FIRST, _TIMER = "compute-0", "timing"
_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**29), "MALLOC_MMAP_THRESHOLD_": str(2**28)}
_START_SECONDS = 120
logger = logging.getLogger(__name__)


class LocalWorkers:
    """A scheduler, a worker that times and some that compress and score.

    Args:
        root: The result store's folder.
        compute_workers: How many compress and score.
        compute: dask's resources of these.
        timing: dask's resources of the one that times.

    Attributes:
        client: Connection to them.
    """

    def __init__(
        self, root: Path, compute_workers: int, compute: dict[str, int], timing: dict[str, int]
    ) -> None:
        _prepare_environment()
        self._root, self._wanted, self._closed = str(root), compute_workers + 1, threading.Event()
        scratch = root / "scratch"
        keywords = {"dashboard": False, "host": "127.0.0.1", "port": 0}
        self._cluster = SpecCluster(
            scheduler={"cls": SubprocessScheduler, "options": {"scheduler_kwargs": keywords}},
            workers={_FIRST: _worker(compute, scratch, _FIRST), _TIMER: _worker(timing, scratch, _TIMER)},
            worker=_worker(compute, scratch),
            name="compression",
        )
        self.client = Client(self._cluster, set_as_default=False)
        self._own = (os.getpid(), psutil.Process().create_time())
        self.client.run_on_scheduler(lifeline.follow, *self._own)
        # Not told by their names: a worker that has not reported yet is unknown, and another one would be taken.
        first = self._warm_up(_FIRST, resources=compute)
        self._warm = [first, self._warm_up(_TIMER, [first], resources=timing)]  # the first point needs this one last
        threading.Thread(target=self._complete, daemon=True, name="workers").start()

    def _warm_up(self, name: str, after: list[Future] | None = None, **where: Any) -> Future:
        return self.client.submit(
            experiment_jobs.warm_up, self._root, name == _TIMER, name == _FIRST, after or [], key=f"warm-{name}",
            pure=False, **where,
        )

    def _complete(self) -> None:
        """Tie the first workers to this process, and once they are ready start the others that compress."""
        try:
            known = self._tie_new(len(self._warm), ())
            self.client.gather(self._warm)
            if self._wanted > len(known):
                self._cluster.scale(self._wanted)
                for address in self._tie_new(self._wanted, known):
                    self._warm.append(self._warm_up(address, workers=[address]))
        except Exception:
            if not self._closed.is_set():
                logger.exception("fewer worker processes than wanted could be started")

    def _tie_new(self, count: int, known: Sequence[str]) -> list[str]:
        """Wait for so many workers; the new ones and their nannies leave with this process, even if it is killed."""
        self.client.wait_for_workers(count, timeout=_START_SECONDS)
        new = [own for own in self.client.scheduler_info(n_workers=-1)["workers"] if own not in known]
        self.client.run(lifeline.follow, *self._own, workers=new)
        self.client.run(lifeline.follow, *self._own, workers=new, nanny=True)
        return new

    def close(self) -> None:
        """Stop the workers."""
        self._closed.set()
        self.client.close()
        self._cluster.close()


def _worker(resource: dict[str, int], scratch: Path, name: str | None = None) -> dict[str, Any]:
    keywords = {
        "nthreads": 1, "resources": resource, "memory_limit": 0, "host": "127.0.0.1",
        "local_directory": str(scratch), "silence_logs": logging.WARNING,
    }
    if name is not None:
        keywords["name"] = name
    return {"cls": SubprocessWorker, "options": {"worker_kwargs": keywords}}


def _prepare_environment() -> None:
    """What the workers inherit."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    os.environ[CODE_VERSION] = process_code()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores; more threads would only fight
    for name, value in _KEEP_MEMORY.items():  # dask's choice makes each tensor a system call: half as fast
        os.environ.setdefault(name, value)
    logging.getLogger("distributed.deploy.subprocess").setLevel(logging.WARNING)  # else whole command lines
