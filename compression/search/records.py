"""A search as pages and the command line see it: plain records, read from the study on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from compression.analysis.promise import Promise
from compression.search.outcomes import Outcome, Standard, Standing
from compression.search.spec import Limits, SearchSpec

SearchState = Literal["running", "paused", "stopped", "infeasible", "interrupted", "failed", "done"]
Origin = Literal["probe", "plan", "sampler"]
RESUMABLE = ("paused", "stopped", "infeasible", "interrupted", "failed")


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes:
        number: Its place, from 1, in the order in which trials were begun; repeats have none.
        key: Of its result and job.
        origin: "probe" tries how far the strongest settings go, "plan" comes from sensitivities, "sampler" from Optuna.
        recipe: What is measured.
        state: "running", "done" or "failed".
        outcome: What it measured, when done.
        standing: Whether it keeps the limits and is beaten by one that does, when done.
        error: Why it failed.
        estimate: Points of accuracy that its layers' sensitivities let it lose, where it is a plan and nothing else.
    """

    number: int
    key: str
    origin: Origin
    recipe: dict[str, Any]
    state: Literal["running", "done", "failed"]
    outcome: Outcome | None = None
    standing: Standing | None = None
    error: str | None = None
    estimate: float | None = None


def promise_counts(record: "SearchRecord") -> list[str]:
    """How many of the front are shown to keep the limit of accuracy, in words; nothing where no promise was made."""
    made = [trial for trial in record.front if trial.key in record.promises]
    if not made:
        return []
    return [f"{len(record.shown)} of {len(made)} on the front shown to keep the limit of accuracy."]


@dataclass(frozen=True)
class SearchSummary:
    """One search in a list.

    Attributes:
        id: Its name.
        spec: What was asked for.
        state: See `SearchRecord`.
        created: ISO date and time.
    """

    id: str
    spec: SearchSpec
    state: SearchState
    created: str


@dataclass(frozen=True)
class SearchRecord:
    """One search so far.

    Attributes:
        id: Its name.
        spec: What was asked for.
        state: "interrupted" was running when its server stopped; "infeasible" found a limit out of reach.
        message: What it is doing, or why it ended.
        created: ISO date and time.
        seconds: Time spent so far.
        baseline: The uncompressed model's outcome.
        trials: In the order of their numbers, repeats left out.
        notes: What was found out about the limits; each says whether it is measured or estimated.
        volumes: Hypervolume after each finished trial, in the order in which they finished.
        confirmed: Keys of trials that were measured in full, with many timings.
        nearest: Where no trial keeps the limits, the one that exceeds them the least.
        reachable: Where no trial keeps the limits, the nearest limits that one does keep.
        promises: What is shown of the limit of accuracy, by key, of trials that were measured in full.
    """

    id: str
    spec: SearchSpec
    state: SearchState
    message: str
    created: str
    seconds: float
    baseline: Outcome | None = None
    trials: tuple[TrialRecord, ...] = ()
    notes: tuple[str, ...] = ()
    volumes: tuple[float, ...] = ()
    confirmed: frozenset[str] = frozenset()
    nearest: Outcome | None = None
    reachable: Limits | None = None
    promises: Mapping[str, Promise] = field(default_factory=dict)

    @property
    def shown(self) -> list[TrialRecord]:
        """Trials of the front that are shown to keep the limit of accuracy; all of it where there is no such limit.

        Where no promise can be made, as of a regression, the front stands as it was measured.
        """
        if self.spec.limits.max_accuracy_drop is None or not self.promises:
            return self.front
        return [trial for trial in self.front if trial.key in self.promises and self.promises[trial.key].kept]

    @property
    def finished(self) -> list[TrialRecord]:
        """Trials that ended, the failed ones included: what counts for the budget."""
        return [trial for trial in self.trials if trial.state != "running"]

    @property
    def running(self) -> list[TrialRecord]:
        """Trials that are being tried now."""
        return [trial for trial in self.trials if trial.state == "running"]

    @property
    def feasible(self) -> list[TrialRecord]:
        """Trials that keep all limits."""
        return [trial for trial in self.trials if trial.standing in ("front", "dominated")]

    @property
    def front(self) -> list[TrialRecord]:
        """Trials that keep all limits and that no other such trial beats, the smallest first."""
        found = [(t.outcome.size_bytes, t.number, t) for t in self.trials if t.standing == "front" and t.outcome]
        return [trial for _, _, trial in sorted(found, key=lambda row: row[:2])]

    @property
    def standard(self) -> Standard | None:
        """What outcomes are held against."""
        return None if self.baseline is None else Standard(self.baseline, self.spec.quality)

    @property
    def estimates(self) -> list[tuple[float, float]]:
        """Points lost as estimated beforehand and as measured, of the trials that have both."""
        standard = self.standard
        found = [(own.estimate, own.outcome) for own in self.trials]
        return [
            (estimate, standard.drop(outcome)) for estimate, outcome in found
            if standard is not None and estimate is not None and outcome is not None
        ]

    @property
    def fraction(self) -> float:
        """Share of the budget that is used, in [0, 1]."""
        shares = []
        if self.spec.trials is not None:
            shares.append(len(self.finished) / self.spec.trials)
        if self.spec.minutes is not None:
            shares.append(self.seconds / 60 / self.spec.minutes)
        return min(1.0, max(shares))

    @property
    def resumable(self) -> bool:
        """Whether it can go on."""
        return self.state in RESUMABLE
