"""How the cores of a machine are shared out."""

import os

_MOST_WORKERS = 4


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_count() -> int:
    """Processes that compress and score: one core is left for timing."""
    return max(1, min(_MOST_WORKERS, (os.cpu_count() or 2) - 1))


def scoring_threads() -> int:
    """Threads of one process that scores large images; accuracy is no timing, so idle cores may help."""
    return max(1, -(-core_count() // worker_count()))
