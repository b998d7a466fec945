"""One session's jobs: what it has asked for, what has come of it, and what it has cancelled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compression.service import ExperimentResult, InputError, JobStatus, Recipe, recipe_hash
from pages.explore.plan import Curve, Plan

if TYPE_CHECKING:
    from compression.service import Service

UNFINISHED = ("queued", "running")


@dataclass
class Tracker:
    """Submits what a plan wants, once; kept in the session's state, so it holds ids only.

    Attributes:
        ids: Job id by recipe hash.
        stopped: Ids that this session cancelled; they are not asked for again until it says so.
    """

    ids: dict[str, str] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)

    def follow(self, plan: Plan, service: "Service") -> None:
        """Submit what is new in the plan and drop what it no longer wants and nobody has begun.

        Raises:
            InputError: if the model or its data cannot be used.
        """
        wanted = {recipe_hash(recipe): (recipe, priority) for recipe, priority in plan.wanted()}
        gone = [own for name, own in self.ids.items() if name not in wanted]
        self.ids = {name: own for name, own in self.ids.items() if name in wanted}
        statuses = service.status(gone)
        service.cancel([key for key in gone if key in statuses and statuses[key].state in UNFINISHED])
        for name, (recipe, priority) in wanted.items():
            if name not in self.ids:
                self.ids[name] = service.submit(recipe, priority=priority)
                self.stopped.discard(self.ids[name])

    def id_of(self, recipe: Recipe) -> str | None:
        """Job id of a recipe that has been submitted."""
        return self.ids.get(recipe_hash(recipe))

    def cancel(self, service: "Service") -> None:
        """Stop everything that is not finished."""
        unfinished = [key for key, own in service.status(self.ids.values()).items() if own.state != "done"]
        service.cancel(unfinished)
        self.stopped |= set(unfinished)

    def resume(self) -> None:
        """Forget what was cancelled or failed, so that it is asked for again."""
        self.ids.clear()
        self.stopped.clear()


@dataclass(frozen=True)
class Progress:
    """How far a view is.

    Attributes:
        total: Points it wants.
        measured: Points with a first result.
        refining: Points whose intervals are still being tightened.
        active: Points queued or running.
        cancelled: Points that were cancelled before a first result.
        errors: Message and number of points, for those that failed.
        message: What is being done now.
        fraction: Overall progress in [0, 1].
    """

    total: int
    measured: int
    refining: int
    active: int
    cancelled: int
    errors: Mapping[str, int]
    message: str
    fraction: float


def progress_of(statuses: Mapping[str, JobStatus], total: int) -> Progress:
    """Sum up the states of a view's jobs."""
    errors: dict[str, int] = {}
    for status in statuses.values():
        if status.state == "failed":
            message = status.error or "it failed without a message"
            errors[message] = errors.get(message, 0) + 1
    states = list(statuses.values())
    running = [s for s in states if s.state == "running"]
    first = [1.0 if s.result is not None else s.fraction for s in states if s.state != "failed"]
    return Progress(
        total=total,
        measured=sum(s.result is not None for s in states),
        refining=sum(s.state == "quick" for s in states),
        active=sum(s.state in UNFINISHED and s.result is None for s in states),
        cancelled=sum(s.state == "cancelled" and s.result is None for s in states),
        errors=errors,
        message=next((s.message for s in running if s.message), ""),
        fraction=min(1.0, sum(first) / max(total - sum(errors.values()), 1)),
    )


def curve_progress(curve: Curve, tracker: Tracker, statuses: Mapping[str, JobStatus]) -> str:
    """Progress of a sweep, e.g. "Quantization 7 of 10"."""
    found = [statuses.get(tracker.id_of(recipe) or "") for recipe in curve.recipes]
    measured = sum(status is not None and status.result is not None for status in found)
    return f"{curve.title} {measured} of {len(curve.recipes)}"


def result_of(recipe: Recipe, tracker: Tracker, statuses: Mapping[str, JobStatus]) -> ExperimentResult | None:
    """Result of a recipe so far."""
    status = statuses.get(tracker.id_of(recipe) or "")
    return None if status is None else status.result


__all__ = ["InputError", "Progress", "Tracker", "curve_progress", "progress_of", "result_of"]
