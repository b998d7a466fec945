"""Asking Optuna what to try, having it measured, and telling what came out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compression.recipe import recipe_to_dict
from compression.search.activation_types import Tried, with_gaining_types
from compression.search.archive import ERROR, ESTIMATE, HIDDEN, KEY, ORIGIN, OUTCOME, RECIPE
from compression.search.laboratory import Failure, Laboratory
from compression.search.outcomes import Outcome, Standard
from compression.search.space import Params, Space
from compression.search.spec import Limits

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial


@dataclass
class _Attempt:
    trial: "Trial"
    key: str
    repeat: bool


class Attempts:
    """The trials of one search: those under way, and how many have ended.

    Args:
        study: Where they are kept.
        laboratory: What measures.
        limits: What they are to keep.

    Attributes:
        ended: Trials that ended, in earlier runs too; repeats do not count.
        repeats: How many of the last trials were repeats of others.
    """

    def __init__(self, study: "Study", laboratory: Laboratory, limits: Limits) -> None:
        self._study, self._laboratory, self._limits = study, laboratory, limits
        self._under_way: list[_Attempt] = []
        self._keys: set[str] = set()
        self.ended = self.repeats = 0

    def __len__(self) -> int:
        """Trials under way, repeats of others left out."""
        return sum(not own.repeat for own in self._under_way)

    def recall(self, baseline: str) -> None:
        """Count the trials of earlier runs, and queue again what was under way when they ended.

        Args:
            baseline: Key of the uncompressed model, of which no trial need be made.
        """
        from optuna.trial import TrialState

        self._keys.add(baseline)
        for trial in self._study.get_trials(deepcopy=False):
            attributes = trial.user_attrs
            if HIDDEN not in attributes and (OUTCOME in attributes or ERROR in attributes):
                self._keys.add(attributes[KEY])
                self.ended += 1
            elif trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)
                if trial.params:
                    self.queue([dict(trial.params)], attributes.get(ORIGIN, "sampler"))

    def queue(self, wanted: Iterable[Params], origin: str) -> None:
        """Have these tried before what the sampler would choose."""
        for params in wanted:
            self._study.enqueue_trial(params, user_attrs={ORIGIN: origin})

    def queued(self) -> bool:
        """Whether something is queued."""
        from optuna.trial import TrialState

        return bool(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def begin(self, space: Space) -> None:
        """Ask what to try next and have it measured; the same recipe is measured once."""
        trial, params = self._drawn(space)
        recipe, estimate = space.build(params), space.estimate(params)
        key = self._laboratory.submit(recipe)
        repeat = key in self._keys
        self._keys.add(key)
        self.repeats = self.repeats + 1 if repeat else 0
        if repeat:
            trial.set_user_attr(HIDDEN, True)
        trial.set_user_attr(RECIPE, recipe_to_dict(recipe))
        trial.set_user_attr(KEY, key)
        if estimate is not None:
            trial.set_user_attr(ESTIMATE, estimate)
        self._under_way.append(_Attempt(trial, key, repeat))

    def _drawn(self, space: Space) -> "tuple[Trial, Params]":
        """The next queued trial, or one that the sampler chooses, its types that gain nothing replaced."""
        from optuna.trial import TrialState

        trial = self._study.ask()
        params = space.suggest(trial)
        if ORIGIN in trial.user_attrs:
            return trial, params
        replaced = with_gaining_types(space, params, self._tried(), self._limits)
        if replaced == params:
            return trial, params
        trial.set_user_attr(HIDDEN, True)
        self._study.tell(trial, state=TrialState.FAIL)
        self._study.enqueue_trial(replaced)
        trial = self._study.ask()
        return trial, space.suggest(trial)

    def _tried(self) -> list[Tried]:
        running = {own.trial.number for own in self._under_way}
        return [
            Tried(
                trial.params, Outcome(**trial.user_attrs[OUTCOME]) if OUTCOME in trial.user_attrs else None,
                trial.number in running,
            )
            for trial in self._study.get_trials(deepcopy=False) if HIDDEN not in trial.user_attrs
        ]

    def collect(self, standard: Standard) -> int:
        """Tell what has ended meanwhile; returns how many trials that is."""
        left, before = [], len(self._under_way)
        for own in self._under_way:
            found = self._laboratory.outcome(own.key)
            if found is None:
                left.append(own)
            else:
                self._tell(own, found, standard)
        self._under_way = left
        return before - len(left)

    def _tell(self, own: _Attempt, found: Outcome | Failure, standard: Standard) -> None:
        from optuna.trial import TrialState

        self.ended += not own.repeat
        if isinstance(found, Failure):
            own.trial.set_user_attr(ERROR, found.reason)
            self._study.tell(own.trial, state=TrialState.FAIL)
            return
        for name, excess in standard.violations(found, self._limits).items():
            own.trial.set_constraint(name, excess)
        own.trial.set_user_attr(OUTCOME, found.to_dict())
        self._study.tell(own.trial, standard.objectives(found))

    def drop(self) -> None:
        """Cancel what is under way; it leaves no trial behind."""
        from optuna.trial import TrialState

        self._laboratory.cancel([own.key for own in self._under_way if not own.repeat])
        for own in self._under_way:
            self._study.tell(own.trial, state=TrialState.FAIL)
        self._under_way = []
