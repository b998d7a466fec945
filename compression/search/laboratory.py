"""What a search needs to have its trials measured, and the application service in that part."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from compression.analysis.promise import Promise
from compression.analysis.sensitivity import SensitivityMap
from compression.experiments.results import ExperimentResult
from compression.experiments.stages import key_of
from compression.experiments.store import ResultStore
from compression.jobs.status import JobStatus
from compression.recipe import Recipe
from compression.search.outcomes import Outcome
from compression.search.planning import LayerCost


@dataclass(frozen=True)
class Failure:
    """Why a trial has no outcome."""

    reason: str


@dataclass(frozen=True)
class Sensitivities:
    """What is known of the layers so far.

    Attributes:
        rows: One per layer and setting, measured or predicted.
        done: Fraction of them, in [0, 1].
        failed: Why no more will come; empty while more may.
    """

    rows: Sequence[LayerCost]
    done: float
    failed: str = ""


class Laboratory(Protocol):
    """Measures trials elsewhere; every call returns at once."""

    def check(self, model: str, dataset: str) -> None:
        """Raise `InputError` if a model or its data cannot be used."""
        ...

    def submit(self, recipe: Recipe) -> str:
        """Have a recipe measured as a trial; returns its key."""
        ...

    def outcome(self, key: str) -> Outcome | Failure | None:
        """What came of a trial, or None while it is under way."""
        ...

    def refine(self, recipe: Recipe) -> str:
        """Have a recipe measured in full, the whole test split included; returns its key."""
        ...

    def refined(self, key: str) -> bool:
        """Whether that has ended, in whatever way."""
        ...

    def cancel(self, keys: Iterable[str]) -> None:
        """Drop what is under way."""
        ...

    def result(self, key: str) -> ExperimentResult | None:
        """The result so far."""
        ...

    def current(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Outcomes with latencies and speed-ups as they are known now."""
        ...

    def sensitivities(self, model: str, dataset: str, technique: str) -> Sensitivities:
        """Have the layers' sensitivities to a technique predicted, and what is known of them so far."""
        ...

    def promise(self, key: str, baseline: str, limit: float) -> Promise | None:
        """What is shown of a limit of accuracy, kept with the result; None where nothing can be said of it."""
        ...

    def test_samples(self, model: str, dataset: str) -> int:
        """Samples of the test split."""
        ...


def outcome_of(result: ExperimentResult | None, selection: dict[str, Any] | None) -> Outcome | None:
    """A trial's outcome from its result and its accuracy on the validation samples, once both are there."""
    if result is None or selection is None or result.figures.latency_ms_p50 is None:
        return None
    own = result.figures
    speedup = own.speedup or 1.0
    return Outcome(
        key=result.key, accuracy=selection["accuracy"], accuracy_low=selection["low"],
        accuracy_high=selection["high"], n_samples=selection["n_samples"], size_bytes=own.size_bytes,
        latency_ms=own.latency_ms_p50 or 0.0, speedup=speedup, speedup_low=own.speedup_low or speedup,
        speedup_high=own.speedup_high or speedup, clock=result.clock,
        structure=result.structure if result.recipe["steps"] else "", right=selection.get("right", ""),
    )


class MeasuringService(Protocol):
    """What a search calls of the application service, `compression.service.facade.Service`."""

    store: ResultStore

    def submit(self, recipe: Recipe, *, priority: int = 0) -> str:
        """Have a recipe measured; returns its key."""
        ...

    def submit_trial(self, recipe: Recipe) -> str:
        """Have a recipe measured and scored on the validation split; returns its key."""
        ...

    def submit_sensitivity(self, model: str, dataset: str, technique: str) -> str:
        """Have a sensitivity map measured; returns the job's key."""
        ...

    def sensitivity_map(self, model: str, dataset: str, technique: str) -> SensitivityMap:
        """A sensitivity map as far as it is measured."""
        ...

    def status(self, ids: Iterable[str]) -> dict[str, JobStatus]:
        """States of jobs by key."""
        ...

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancel jobs."""
        ...

    def result(self, key: str) -> ExperimentResult | None:
        """The result so far."""
        ...

    def selection(self, key: str) -> dict[str, Any] | None:
        """Accuracy of a result on the validation split, or None."""
        ...


class ServiceLaboratory:
    """The application service as a laboratory.

    Args:
        service: Whose workers measure.
    """

    def __init__(self, service: MeasuringService) -> None:
        self._service = service
        self._recipes: dict[str, Recipe] = {}
        self._maps: dict[tuple[str, str, str], str] = {}

    def check(self, model: str, dataset: str) -> None:
        """Raise `InputError` if a model or its data cannot be used."""
        key_of(Recipe(model, dataset))

    def submit(self, recipe: Recipe) -> str:
        """Have a recipe measured as a trial; returns its key."""
        key = self._service.submit_trial(recipe)
        self._recipes[key] = recipe
        return key

    def outcome(self, key: str) -> Outcome | Failure | None:
        """What came of a trial, or None while it is under way."""
        found = outcome_of(self._service.result(key), self._service.selection(key))
        if found is not None:
            return found
        status = self._service.status([key]).get(key)
        if status is not None and status.state in ("failed", "cancelled"):
            return Failure(status.error or "cancelled")
        if key in self._recipes:  # somebody else's job of this recipe may have ended without the selection sample
            self._service.submit_trial(self._recipes[key])
        return None

    def refine(self, recipe: Recipe) -> str:
        """Have a recipe measured in full, the whole test split included; returns its key."""
        return self._service.submit(recipe)

    def refined(self, key: str) -> bool:
        """Whether that has ended, in whatever way."""
        status = self._service.status([key]).get(key)
        return status is not None and status.state in ("done", "failed", "cancelled")

    def cancel(self, keys: Iterable[str]) -> None:
        """Drop what is under way."""
        self._service.cancel(keys)

    def result(self, key: str) -> ExperimentResult | None:
        """The result so far."""
        return self._service.result(key)

    def current(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Outcomes with latencies and speed-ups as they are known now."""
        clocks = self._service.store.timings.clocks(own.clock for own in outcomes if own.clock)
        return [own.on_clock(clocks[own.clock]) if own.clock else own for own in outcomes]

    def sensitivities(self, model: str, dataset: str, technique: str) -> Sensitivities:
        """Have the layers' sensitivities to a technique predicted, and what is known of them so far."""
        asked = (model, dataset, technique)
        if asked not in self._maps:
            self._maps[asked] = self._service.submit_prediction(*asked)
        known = self._service.sensitivity_map(*asked)
        status = self._service.status([self._maps[asked]]).get(self._maps[asked])
        ended = status is not None and status.state in ("failed", "cancelled")
        failed = (status.error or status.state) if status is not None and ended else ""
        if known.has_prediction:
            return Sensitivities(known.known, 1.0)
        return Sensitivities((), 0.0 if status is None else min(0.99, status.fraction), failed)

    def promise(self, key: str, baseline: str, limit: float) -> Promise | None:
        """What is shown of a limit of accuracy, kept with the result; None where nothing can be said of it."""
        return self._service.promises.make(key, baseline, limit)

    def test_samples(self, model: str, dataset: str) -> int:
        """Samples of the test split."""
        return self._service.promises.test_samples(model, dataset)
