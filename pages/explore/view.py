"""What one drawing of Explore works on: the plan, its jobs' states and the point in focus."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compression.service import ExperimentResult, JobStatus, Technique
from pages.explore.charts import Mark, mark_of
from pages.explore.plan import Plan
from pages.explore.session_jobs import Progress, Tracker, progress_of, result_of
from pages.shared.url.address import get, put
from pages.shared.url.state import POINT

if TYPE_CHECKING:
    from compression.service import Service

_FAST, _SLOW = 0.5, 2.0
_SHARED = 0.3
_PAGE = "explore"


@dataclass(frozen=True)
class _Snapshot:
    """States of the jobs of these ids at a time of the monotonic clock."""

    ids: tuple[str, ...]
    time: float
    statuses: dict[str, JobStatus]


@dataclass
class View:
    """Everything that the parts of the page share."""

    service: "Service"
    tracker: Tracker
    plan: Plan
    techniques: Sequence[Technique]
    _last: _Snapshot | None = field(default=None, init=False, repr=False)

    def statuses(self) -> dict[str, JobStatus]:
        """States of this view's jobs now.

        Parts of the page that are drawn together share one snapshot: a timing that is stored meanwhile changes all
        latencies of its baseline.
        """
        ids, now = tuple(self.tracker.ids.values()), time.monotonic()
        if self._last is None or self._last.ids != ids or now - self._last.time > _SHARED:
            self._last = _Snapshot(ids, now, self.service.status(ids))
        return self._last.statuses

    def cancel(self) -> None:
        """Stop everything that is not finished."""
        self.tracker.cancel(self.service)
        self._last = None

    def resume(self) -> None:
        """Ask again for what was cancelled or failed."""
        self.tracker.resume()
        self.tracker.follow(self.plan, self.service)
        self._last = None

    def progress(self, statuses: Mapping[str, JobStatus]) -> Progress:
        """How far they are."""
        return progress_of(statuses, len(set(self.tracker.ids.values())))

    def pace(self) -> float | None:
        """Seconds between two looks at the jobs; None when nothing more can come."""
        return pace_of(self.progress(self.statuses()))

    def focus(self, statuses: Mapping[str, JobStatus]) -> ExperimentResult | None:
        """The selected point, else the current recipe."""
        chosen = selection()
        result = self.service.result(chosen) if chosen else None
        own = self.plan.current
        if result is not None and (result.recipe["model"], result.recipe["dataset"]) == (own.model, own.dataset):
            return result
        clear_selection()
        return result_of(self.plan.current, self.tracker, statuses)

    def baseline(self, statuses: Mapping[str, JobStatus]) -> ExperimentResult | None:
        """The uncompressed model's result."""
        return result_of(self.plan.baseline, self.tracker, statuses)

    def marks(self, statuses: Mapping[str, JobStatus]) -> list[Mark]:
        """All points that have a result, in drawing order; a selected point that lies on no curve comes last."""
        marks = []
        scores = self.service.scores(status.result.key for status in statuses.values() if status.result is not None)
        for curve in self.plan.curves:
            for recipe in curve.recipes:
                result = result_of(recipe, self.tracker, statuses)
                if result is not None:
                    marks.append(mark_of(result, "sweep", curve.technique, curve.title, scores.get(result.key)))
        current = result_of(self.plan.current, self.tracker, statuses)
        if current is not None and self.plan.current.steps:
            marks.append(mark_of(current, "current", scores=scores.get(current.key)))
        baseline = self.baseline(statuses)
        if baseline is not None:
            marks.append(mark_of(baseline, "baseline", scores=scores.get(baseline.key)))
        focus = self.focus(statuses)
        if focus is not None and all(mark.id != focus.key for mark in marks):
            before = self.service.scores([focus.key]).get(focus.key)
            marks.append(mark_of(focus, "sweep", "selected", "Selected before", before))
        return marks


def pace_of(progress: Progress) -> float | None:
    """Seconds between two looks, given how far the jobs are.

    What was cancelled or has failed can be asked for again from within a fragment, so that is looked at too.
    """
    if progress.active:
        return _FAST
    return _SLOW if progress.refining or progress.cancelled or progress.errors else None


def selection() -> str:
    """The point in focus, empty where none is."""
    return get(POINT, _PAGE)


def select(key: str) -> None:
    """Put a point in focus; it is part of the address."""
    put(POINT, key, _PAGE)


def clear_selection() -> None:
    """Put the current recipe in focus again."""
    if selection():
        put(POINT, "", _PAGE)
