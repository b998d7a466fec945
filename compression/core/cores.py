"""How the cores of a machine are shared out."""

import os

_MOST_WORKERS = 4


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count() -> int:
    """Processes that compress and score; they yield to the one that times, which needs a core now and then."""
    return min(_MOST_WORKERS, core_count())


def scoring_threads() -> int:
    """Threads of one process that scores large images; accuracy is no timing, so cores that idle may help."""
    return -(-core_count() // max(1, worker_count() - 1))
