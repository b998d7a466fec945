"""State of a job, as pages and the command line see it."""

from dataclasses import dataclass
from typing import Literal

from compression.experiments.results import ExperimentResult

JobState = Literal["queued", "running", "quick", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class JobStatus:
    """State of one submitted recipe.

    Attributes:
        id: Key of the job and of its result.
        state: "quick" has a first result that is still being refined; "done" is final.
        fraction: Progress in [0, 1].
        message: What it is doing.
        error: One line, when it failed.
        result: The result so far.
    """

    id: str
    state: JobState
    fraction: float = 0.0
    message: str = ""
    error: str | None = None
    result: ExperimentResult | None = None
