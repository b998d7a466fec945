"""The thread of one search. All that it knows is in its study on disk, so another can carry it on."""

import logging
import threading
import time

from compression.analysis.promise import too_few_samples
from compression.core.errors import InputError
from compression.experiments.wording import percent
from compression.problems import ACCURACY
from compression.recipe import Recipe, recipe_from_dict
from compression.search import archive, reach
from compression.search.activation_types import first_trials
from compression.search.archive import Archive
from compression.search.attempts import Attempts
from compression.search.laboratory import Failure, Laboratory
from compression.search.outcomes import Outcome, Standard
from compression.search.planning import Planner
from compression.search.records import SearchRecord
from compression.search.sampling import open_study
from compression.search.seeds import seeds
from compression.search.space import Space, make_space
from compression.search.spec import Limits, SearchSpec, spec_from_dict

logger = logging.getLogger(__name__)
OPENED, PROBED, SOWN, ANYWAY = "opened", "probed", "sown", "anyway"
_POLL_SECONDS = 0.1
_MOST_REPEATS = 60
_MOST_FINALISTS = 20
_PLANNING_SHARE = 1 / 3
_SEED_SHARE, _MOST_SEEDS = 0.4, 12
_HALVINGS = 3
_SPEED, _NEARLY = {"max_latency_ms", "min_speedup"}, 0.5
_HALTING = {"paused": "Pausing: what is under way is measured first", "stopped": "Stopping"}


class _HaltedError(Exception):
    """Somebody wants the search to end; how is in `SearchThread.halt`."""


class _EndedError(Exception):
    """The search has ended by itself before its budget was used; the arguments are its state and message."""


class SearchThread(threading.Thread):
    """Carries one search on from where it is.

    Args:
        name: Name of the search.
        kept: Where searches are kept.
        laboratory: What measures.
        parallel: Trials under way at once.
    """

    def __init__(self, name: str, kept: Archive, laboratory: Laboratory, parallel: int) -> None:
        super().__init__(name=f"search-{name}", daemon=True)
        self._search, self._kept, self._laboratory, self._parallel = name, kept, laboratory, parallel
        self._study = open_study(kept, name)
        self._spec: SearchSpec = spec_from_dict(self._study.user_attrs[archive.SPEC])
        self._before = float(self._study.user_attrs.get(archive.STATE, {}).get("seconds", 0.0))
        self._begun = time.monotonic()
        self._attempts = Attempts(self._study, laboratory, self._spec.limits)
        self._halting: str | None = None
        self._over, self._lock = False, threading.Lock()
        self._wake = threading.Event()
        self._study.set_user_attr(archive.OWNER, archive.own_process())
        self._put_state("running", "Starting")

    def halt(self, state: str) -> None:
        """Ask it to end as "paused" (after the trials under way), "stopped" or "interrupted" (both at once)."""
        self._halting = state
        self._wake.set()
        with self._lock:
            if state in _HALTING and not self._over:
                self._put_state("running", _HALTING[state])

    def run(self) -> None:
        """Search until the budget is used, a limit turns out to be out of reach, or somebody halts it."""
        try:
            state, message = "done", self._go()
        except _HaltedError:
            state, message = self._halting or "stopped", ""
            if state == "stopped":
                self._attempts.drop()
        except _EndedError as ended:
            state, message = ended.args
        except InputError as error:
            state, message = "failed", str(error)
        except Exception as error:
            logger.exception("search %s failed", self._search)
            state, message = "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        with self._lock:
            self._over = True
            self._put_state(state, message)

    def _go(self) -> str:
        self._warn()
        space = self._space({})
        standard = Standard(self._baseline(space))
        if PROBED not in self._stages():
            self._probe(space, standard)
        if self._spec.strategy == "planned":
            space = self._space(self._planners(space))
            if SOWN not in self._stages():
                self._sow(space)
        self._carry_out(space, standard, "Searching", queued_only=False)
        exhausted = self._attempts.repeats >= _MOST_REPEATS
        self._confirm()
        return "Nothing new was left to try." if exhausted else "Finished: the budget is used."

    def _space(self, planners: dict[str, Planner]) -> Space:
        plans = self._spec.strategy == "planned"
        return make_space(self._recipe(), self._spec.techniques, plans=plans, planners=planners)

    def _recipe(self) -> Recipe:
        return Recipe(self._spec.model, self._spec.dataset)

    def _baseline(self, space: Space) -> Outcome:
        """The uncompressed model, against which everything is held; measured once per search.

        What does not need its outcome begins beside it: the first trials and the layers' sensitivities.
        """
        key = self._laboratory.submit(self._recipe())
        self._attempts.recall(key)
        if self._spec.strategy == "planned":
            self._open(space)
        self._put_state("running", "Measuring the uncompressed model")
        while (found := self._laboratory.outcome(key)) is None:
            self._wait()
        if isinstance(found, Failure):
            raise _EndedError("failed", f"The uncompressed model cannot be measured: {found.reason}")
        if archive.BASELINE not in self._study.user_attrs:
            self._study.set_user_attr(archive.BASELINE, found.to_dict())
        return Outcome(**self._study.user_attrs[archive.BASELINE])

    def _open(self, space: Space) -> None:
        """Begin with the trials that are most likely to keep the limits, and have sensitivities predicted."""
        if OPENED not in self._stages():
            self._attempts.queue(first_trials(space), "probe")
            self._passed(OPENED)
            while len(self._attempts) < self._parallel and self._more(queued_only=True):
                self._attempts.begin(space)
        for dimension in space.dimensions:
            if dimension.plannable:
                self._laboratory.sensitivities(self._spec.model, self._spec.dataset, dimension.key)

    def _probe(self, space: Space, standard: Standard) -> None:
        """Try the strongest settings and end where not even they keep a limit, unless that is wanted anyway."""
        limits, probes = self._spec.limits, reach.probes(space)
        beyond: dict[str, float] = {}
        for wanted in ([], probes[:1], probes[1:]) if reach.needed(limits) else ():
            self._attempts.queue(wanted, "probe")
            message = "Trying the strongest settings" if wanted else "Trying integer activations"
            self._carry_out(space, standard, message, queued_only=True)
            if not wanted:
                self._time_at_length(standard)
            outcomes = [trial.outcome for trial in self._record().trials if trial.outcome is not None]
            beyond = reach.out_of_reach(standard, outcomes, limits)
            if outcomes and not beyond:
                break
        if beyond and ANYWAY not in self._stages():
            if limits.max_accuracy_drop is not None:
                self._come_near(space, standard)
            sentences = [
                *reach.told(beyond, limits, self._spec.quality),
                *reach.told_nearest(self._record().reachable, self._spec.quality),
            ]
            self._note(sentences)
            raise _EndedError("infeasible", " ".join(sentences))
        self._passed(PROBED)

    def _time_at_length(self, standard: Standard) -> None:
        """Measure first trials in full that miss limits of speed alone, and not by much.

        A short timing beside other work errs, and all trials of the same structure share it.
        """
        limits, near = self._spec.limits, []
        for trial in self._record().trials:
            if trial.outcome is None:
                continue
            over = {name: own for name, own in standard.violations(trial.outcome, limits).items() if own > 0}
            if over and set(over) <= _SPEED and max(over.values()) <= _NEARLY:
                near.append(self._laboratory.refine(recipe_from_dict(trial.recipe)))
        while not all(self._laboratory.refined(key) for key in near):
            self._put_state("running", "Timing integer activations at length, as their first timing missed a limit")
            self._wait(5 * _POLL_SECONDS)

    def _come_near(self, space: Space, standard: Standard) -> None:
        """Halve the way to the strongest settings until what keeps the limit of accuracy is near its end."""
        bound = Limits(max_accuracy_drop=self._spec.limits.max_accuracy_drop)
        weaker, stronger = 0.0, 1.0
        for _ in range(_HALVINGS):
            share = (weaker + stronger) / 2
            self._attempts.queue([reach.partway(space, share)], "probe")
            self._carry_out(space, standard, "Looking for the nearest limits", queued_only=True)
            last = max(self._record().finished, key=lambda trial: trial.number).outcome
            kept = last is not None and standard.feasible(last, bound)
            weaker, stronger = (share, stronger) if kept else (weaker, share)

    def _planners(self, space: Space) -> dict[str, Planner]:
        """What plans the techniques whose layers can have settings of their own; waits until it is predicted."""
        found = {}
        for key in [dimension.key for dimension in space.dimensions if dimension.plannable]:
            while True:
                known = self._laboratory.sensitivities(self._spec.model, self._spec.dataset, key)
                late = self._spec.minutes is not None and self._seconds() > 60 * self._spec.minutes * _PLANNING_SHARE
                if known.done >= 1.0 or known.failed or late:
                    break
                done = percent(known.done, 0)
                self._put_state("running", f"Predicting the layers' sensitivities to {key}: {done}")
                self._wait(5 * _POLL_SECONDS)
            if known.done >= 1.0 and known.rows:
                found[key] = Planner(known.rows)
            else:
                otherwise = "none can be predicted" if known.done >= 1.0 else "they take more than a third of the time"
                why = known.failed or otherwise
                self._note([f"Without plans for {key}: the layers' sensitivities are not known ({why})."])
        return found

    def _sow(self, space: Space) -> None:
        """Queue plans and say what they promise."""
        baseline = self._laboratory.result(self._laboratory.submit(self._recipe()))
        if baseline is not None:
            self._note(reach.estimates(space.planners, baseline, self._spec.limits))
            rests = {key: reach.rest_bytes(planner, baseline) for key, planner in space.planners.items()}
            most = _MOST_SEEDS if self._spec.trials is None else int(_SEED_SHARE * self._spec.trials)
            self._attempts.queue(seeds(space, self._spec.limits, rests, min(most, _MOST_SEEDS)), "plan")
        self._passed(SOWN)

    def _carry_out(self, space: Space, standard: Standard, message: str, *, queued_only: bool) -> None:
        """Try what is queued, or go on until the budget is used; a pause waits for what is under way."""
        self._put_state("running", message)
        while True:
            pausing = self._halting == "paused"
            if self._halting is not None and not pausing:
                raise _HaltedError
            begins = len(self._attempts) < self._parallel and not pausing and self._more(queued_only)
            if begins:
                self._attempts.begin(space)
            if self._attempts.collect(standard):
                self._put_state("running", message)
            elif not begins and len(self._attempts) == 0:
                if pausing:
                    raise _HaltedError
                return
            elif pausing:
                time.sleep(_POLL_SECONDS)
            elif not begins:
                self._wait()

    def _more(self, queued_only: bool) -> bool:
        if queued_only:
            return self._attempts.queued()
        begun = self._attempts.ended + len(self._attempts)
        trials, minutes = self._spec.trials, self._spec.minutes
        in_trials = trials is None or begun < trials
        in_time = minutes is None or self._seconds() < 60 * minutes
        return in_trials and in_time and self._attempts.repeats < _MOST_REPEATS

    def _confirm(self) -> None:
        """Have the trials that nothing beats measured in full: the whole test split, and latency with many samples."""
        confirmed: dict[str, dict[str, object]] = dict(self._study.user_attrs.get(archive.CONFIRMED, {}))
        while True:  # a latency that turns out otherwise may bring others to the front
            missing = [trial for trial in self._record().front if trial.key not in confirmed]
            finalists = missing[: max(0, _MOST_FINALISTS - len(confirmed))]
            if not finalists:
                return
            for trial in finalists:
                self._laboratory.refine(recipe_from_dict(trial.recipe))
            self._await_all([trial.key for trial in finalists])
            for trial in finalists:
                found = self._laboratory.outcome(trial.key)
                assert trial.outcome is not None
                confirmed[trial.key] = (found if isinstance(found, Outcome) else trial.outcome).to_dict()
            self._study.set_user_attr(archive.CONFIRMED, confirmed)
            self._promise([trial.key for trial in finalists])

    def _await_all(self, keys: list[str]) -> None:
        """Wait until finalists and the uncompressed model are measured in full; promises compare both."""
        baseline = self._laboratory.refine(self._recipe())
        samples = self._laboratory.test_samples(self._spec.model, self._spec.dataset)
        noun = f"{len(keys)} finalist{'' if len(keys) == 1 else 's'}"
        what = f"Measuring {noun} on {samples:,} test samples" if samples else f"Measuring {noun} in full"
        while (ended := sum(self._laboratory.refined(key) for key in (*keys, baseline))) <= len(keys):
            self._put_state("running", f"{what}: {min(ended, len(keys))} of {len(keys)}")
            self._wait(5 * _POLL_SECONDS)

    def _promise(self, keys: list[str]) -> None:
        """Say of finalists whether they are shown to keep the limit of accuracy."""
        limit, baseline = self._spec.limits.max_accuracy_drop, Outcome(**self._study.user_attrs[archive.BASELINE])
        if limit is None:
            return
        made = {key: self._laboratory.promise(key, baseline.key, limit) for key in keys}
        known = self._study.user_attrs.get(archive.PROMISES, {})
        new = {key: found.to_dict() for key, found in made.items() if found is not None}
        self._study.set_user_attr(archive.PROMISES, {**known, **new})

    def _warn(self) -> None:
        """Say before the search where there are too few samples to show what is asked for."""
        limit = self._spec.limits.max_accuracy_drop
        samples = self._laboratory.test_samples(self._spec.model, self._spec.dataset)
        if limit is not None and samples and self._spec.quality.key == ACCURACY.key:
            self._note(list(filter(None, [too_few_samples(samples, limit)])))

    def _record(self) -> SearchRecord:
        found = self._kept.read(self._search, self._laboratory.current)
        assert found is not None
        return found

    def _wait(self, seconds: float = _POLL_SECONDS) -> None:
        """Wait a moment; raises if somebody wants the search to end."""
        if self._halting is None:
            self._wake.wait(seconds)
        if self._halting is not None and not (self._halting == "paused" and len(self._attempts)):
            raise _HaltedError

    def _stages(self) -> list[str]:
        return list(self._study.user_attrs.get(archive.STAGES, []))

    def _passed(self, stage: str) -> None:
        self._study.set_user_attr(archive.STAGES, [*self._stages(), stage])

    def _note(self, sentences: list[str]) -> None:
        kept = self._study.user_attrs.get(archive.NOTES, [])
        self._study.set_user_attr(archive.NOTES, [*kept, *(own for own in sentences if own not in kept)])

    def _put_state(self, state: str, message: str) -> None:
        if state == "running" and self._halting in _HALTING:
            message = _HALTING[self._halting]
        data = {"state": state, "message": message, "seconds": self._seconds(), "at": time.time()}
        self._study.set_user_attr(archive.STATE, data)

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._begun
