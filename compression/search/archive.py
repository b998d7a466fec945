"""Searches on disk: one Optuna study each, in an SQLite database beside the results.

The study is the only place where a search is kept, so what a page shows and what a resumed search goes on from are
one and the same.
"""

import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from compression.analysis.promise import promise_from_dict
from compression.experiments.store import now
from compression.search.outcomes import Appraisal, Outcome, appraise
from compression.search.records import SearchRecord, SearchState, SearchSummary, TrialRecord
from compression.search.spec import SearchSpec, spec_from_dict

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

DATABASE = "searches.db"
SPEC, CREATED, STATE, BASELINE, NOTES, STAGES, OWNER, CONFIRMED = (
    "spec", "created", "state", "baseline", "notes", "stages", "owner", "confirmed"
)
KEY, RECIPE, ORIGIN, OUTCOME, ERROR, HIDDEN = "key", "recipe", "origin", "outcome", "error", "hidden"
ESTIMATE, PROMISES = "estimate", "promises"
Refresh = Callable[[Sequence[Outcome]], list[Outcome]]


class Archive:
    """The searches of one store.

    Args:
        root: The store's folder.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / DATABASE
        self._lock = threading.Lock()
        self._storage: BaseStorage | None = None
        self._studies: dict[str, Study] = {}

    def create(self, spec: SearchSpec) -> str:
        """A new search; returns its name."""
        import optuna

        name = secrets.token_hex(5)
        directions = ["minimize"] * 3
        study = optuna.create_study(storage=self._opened(), study_name=name, directions=directions)
        study.set_user_attr(SPEC, spec.to_dict())
        study.set_user_attr(CREATED, now())
        return name

    def study(self, name: str, sampler: "BaseSampler | None" = None) -> "Study":
        """The study of a search.

        Raises:
            KeyError: if there is none of that name.
        """
        import optuna

        return optuna.load_study(study_name=name, storage=self._opened(), sampler=sampler)

    def names(self) -> list[str]:
        """Names of all searches, the newest first."""
        if not self._path.is_file():
            return []
        studies = [study for study in self._opened().get_all_studies() if SPEC in study.user_attrs]
        studies.sort(key=lambda study: study.user_attrs.get(CREATED, ""), reverse=True)
        return [study.study_name for study in studies]

    def summaries(self) -> list[SearchSummary]:
        """All searches in short, the newest first."""
        found = []
        for name in self.names():
            attributes = self._reader(name).user_attrs
            spec, created = spec_from_dict(attributes[SPEC]), str(attributes.get(CREATED, ""))
            found.append(SearchSummary(name, spec, _state(attributes), created))
        return found

    def specs(self) -> dict[str, tuple[SearchSpec, str]]:
        """What each search was asked for and when it was begun, the newest first."""
        return {own.id: (own.spec, own.created) for own in self.summaries()}

    def hand_on(self, name: str, keys: Collection[str], to: str) -> None:
        """Queue some trials of one search, by their keys, first in another."""
        other = self.study(to)
        for trial in self.study(name).get_trials(deepcopy=False):
            if _counts(trial) and trial.user_attrs[KEY] in keys and trial.params:
                other.enqueue_trial(dict(trial.params), user_attrs={ORIGIN: "probe"})

    def delete(self, name: str) -> None:
        """Forget a search; what it measured stays among the results."""
        import optuna

        self._studies.pop(name, None)
        optuna.delete_study(study_name=name, storage=self._opened())

    def read(self, name: str, refresh: "Refresh" = list) -> SearchRecord | None:
        """A search so far, or None if there is none of that name.

        Args:
            name: Of the search.
            refresh: Brings outcomes to what is known of their latencies now.
        """
        if name not in self.names():
            return None
        study = self._reader(name)
        return record_of(name, study.user_attrs, study.get_trials(deepcopy=False), refresh)

    def _reader(self, name: str) -> "Study":
        """A study for reading, kept: it remembers finished trials."""
        if name not in self._studies:
            self._studies[name] = self.study(name)
        return self._studies[name]

    def _opened(self) -> "BaseStorage":
        """Optuna is imported and the database opened on first use: both take about a second."""
        with self._lock:
            if self._storage is None:
                import optuna

                optuna.logging.set_verbosity(optuna.logging.WARNING)
                logging.getLogger("alembic").setLevel(logging.WARNING)
                keywords = {"connect_args": {"timeout": 30, "factory": _Connection}}
                self._storage = optuna.storages.RDBStorage(f"sqlite:///{self._path}", engine_kwargs=keywords)
            return self._storage


class _Connection(sqlite3.Connection):
    """Readers and the writer do not wait for each other, and the writer not for the disk at each of its many writes."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


def own_process() -> dict[str, float]:
    """What tells this process from all others, for the owner of a running search."""
    return {"pid": os.getpid(), "created": psutil.Process().create_time()}


def _lives(owner: dict[str, float] | None) -> bool:
    if not owner:
        return False
    try:
        return psutil.Process(int(owner["pid"])).create_time() == owner["created"]
    except psutil.NoSuchProcess:
        return False


def record_of(
    name: str, attributes: dict[str, Any], trials: "list[FrozenTrial]", refresh: "Refresh" = list
) -> SearchRecord:
    """A study as a record, its trials numbered without the gaps that repeats and dropped ones leave in the study."""
    spec = spec_from_dict(attributes[SPEC])
    told, now_in = attributes.get(STATE, {}), _state(attributes)
    since = time.time() - told["at"] if now_in == "running" and "at" in told else 0.0
    baseline = Outcome(**attributes[BASELINE]) if BASELINE in attributes else None
    shown = dict(enumerate((trial for trial in trials if _counts(trial)), start=1))
    confirmed = attributes.get(CONFIRMED, {})
    known = {number: _outcome(t, confirmed) for number, t in shown.items() if OUTCOME in t.user_attrs}
    outcomes = dict(zip(known, refresh(list(known.values())), strict=True))
    baseline = None if baseline is None else refresh([baseline])[0]
    ended = [(t.datetime_complete, n) for n, t in shown.items() if n in outcomes and t.datetime_complete]
    in_order = tuple((number, outcomes[number]) for _, number in sorted(ended))
    judged = Appraisal({}, ()) if baseline is None else appraise(baseline, in_order, spec.limits)
    return SearchRecord(
        id=name, spec=spec, state=now_in, message="" if now_in == "interrupted" else told.get("message", ""),
        created=str(attributes.get(CREATED, "")), seconds=told.get("seconds", 0.0) + since, baseline=baseline,
        notes=tuple(attributes.get(NOTES, ())),
        trials=tuple(_trial(n, t, outcomes.get(n), judged.standings.get(n)) for n, t in shown.items()),
        promises={key: promise_from_dict(data) for key, data in attributes.get(PROMISES, {}).items()},
        confirmed=frozenset(confirmed), volumes=judged.volumes, nearest=judged.nearest,
        reachable=judged.reachable,
    )


def _state(attributes: dict[str, Any]) -> SearchState:
    """What its thread wrote last, unless that thread is gone."""
    state: SearchState = attributes.get(STATE, {}).get("state", "running")
    return "interrupted" if state == "running" and not _lives(attributes.get(OWNER)) else state


def _outcome(trial: "FrozenTrial", confirmed: dict[str, Any]) -> Outcome:
    """What a trial measured: in full where it was measured so, else first."""
    return Outcome(**confirmed.get(trial.user_attrs[KEY], trial.user_attrs[OUTCOME]))


def _counts(trial: "FrozenTrial") -> bool:
    """Whether a trial is no repeat and was not dropped when its search was stopped."""
    attributes = trial.user_attrs
    ended = OUTCOME in attributes or ERROR in attributes
    return KEY in attributes and HIDDEN not in attributes and (ended or not trial.state.is_finished())


def _trial(number: int, trial: "FrozenTrial", outcome: Outcome | None, standing: Any) -> TrialRecord:
    attributes = trial.user_attrs
    error = attributes.get(ERROR)
    return TrialRecord(
        number=number, key=attributes[KEY], origin=attributes.get(ORIGIN, "sampler"),
        recipe=attributes[RECIPE], state="done" if outcome else "failed" if error else "running", outcome=outcome,
        standing=standing, error=error, estimate=attributes.get(ESTIMATE),
    )
