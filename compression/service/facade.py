"""What the pages and the command line call: submit recipes, follow them, read results, export bundles."""

import logging
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from compression.analysis.promises import Promises
from compression.analysis.sensitivity import Sensitivity, SensitivityMap, read_map, sensitivity_key
from compression.bundles.writing import export_bundle
from compression.core.paths import home
from compression.experiments import stages
from compression.experiments.pairing import Scores
from compression.experiments.results import ExperimentResult, TrainingRecord, training_from_dict
from compression.experiments.scoring_data import ScoringData, scoring_data
from compression.experiments.store import ResultStore
from compression.experiments.tasks import student_names
from compression.jobs.engine import Engine
from compression.jobs.experiment_jobs import CURVE, ENOUGH, measure_sensitivity
from compression.jobs.status import JobStatus
from compression.library import Library
from compression.library.user_service import UserEntries
from compression.recipe import Recipe, recipe_from_dict, recipe_to_dict
from compression.search.laboratory import ServiceLaboratory
from compression.search.searches import Searches
from compression.service.comparisons import Comparisons
from compression.service.layer_values import Distributions
from compression.service.predicted_sensitivities import Predictions
from compression.service.runtime_exports import Exports
from compression.service.sweep import vary
from compression.service.technique_pictures import Illustrations
from compression.techniques import Technique, get_technique, list_techniques
from models import datasets, registry

logger = logging.getLogger(__name__)
_TRIAL = -200
_SENSITIVITY_PARTS = 64
_BACKGROUND = -500


class Service:
    """The application behind the pages; one for all sessions of a server. Safe to use from several threads.

    Args:
        root: Folder of the result store; the user's by default.
        engine: Its workers; started for that folder by default.

    Attributes:
        store: Where results are kept.
        searches: Its searches.
        own: The user's own models and datasets.
        library: What models and data there are, and downloads.
    """

    def __init__(self, root: Path | None = None, engine: Engine | None = None) -> None:
        self.store = ResultStore((root or home()).resolve())
        self.store.clear_unfinished_jobs()
        self._engine = engine or Engine(self.store.root)
        self._lock = threading.Lock()
        self._coarse: set[str] = set()
        self._known: dict[str, ExperimentResult] = {}
        self._listed: tuple[tuple[int, str, int], list[ExperimentResult]] | None = None
        self._scores: dict[str, Scores] = {}
        self._bundles: dict[str, tuple[Path, ExperimentResult | None]] = {}
        self.exports = Exports(self.store, self._engine, self._lost)
        self.distributions = Distributions(self.store, self._engine, self._lost)
        self.illustrations = Illustrations(self.store, self._engine, self._lost)
        self.promises = Promises(self.store, lambda key: self._bundles.pop(key, None))
        self.predictions = Predictions(self.store, self._engine, self._lost)
        self.own = UserEntries(self.store, self._engine, self._lost)
        self.library = Library(self.store, self._engine, self.submit, self._lost, self._forget)
        self.comparisons = Comparisons(self.store, self._engine, self._lost)
        self.searches = Searches(self.store.root, ServiceLaboratory(self), self._engine.compute_workers + 1)

    def models(self) -> list[registry.ModelInfo]:
        """Models that can be chosen."""
        return registry.list_models()

    def datasets(self) -> list[datasets.DatasetInfo]:
        """Datasets that can be scored on."""
        return datasets.list_datasets()

    def scoring_data(self, model: str) -> tuple[ScoringData, ...]:
        """Datasets that a model can be scored on, its own first."""
        return scoring_data(model)

    def techniques(self) -> list[Technique]:
        """Techniques in the suggested order."""
        return list_techniques()

    def students(self, model: str) -> tuple[str, ...]:
        """Names of the smaller architectures that may learn from a model."""
        return student_names(model)

    def submit(self, recipe: Recipe, *, priority: int = 0) -> str:
        """Have a recipe measured; returns its key at once. A stored result counts as done.

        Raises:
            InputError: if the model or dataset is unknown or unavailable.
        """
        key = stages.key_of(recipe)
        with self._lock:
            stored = self.store.get_result(key)
            if stored is not None and stored.stage == "full":
                return key
            if not self._under_way(key):
                self.store.put_job(key, "queued", 0.0, "waiting")
                self._engine.submit(key, recipe_to_dict(recipe), priority, self._lost)
            elif key in self._coarse:
                self._engine.submit(key, recipe_to_dict(recipe), priority, self._lost, tiers=("full",))
            self._coarse.discard(key)
        return key

    def submit_trial(self, recipe: Recipe) -> str:
        """Have a recipe measured for a search: coarsely, and on the samples that searches choose by.

        A later `submit` has it measured in full. Returns its key at once; what is under way is waited for.

        Raises:
            InputError: if the model or dataset is unknown or unavailable.
        """
        key = stages.key_of(recipe)
        with self._lock:
            result = self.result(key)
            timed = result is not None and result.figures.latency_ms_p50 is not None
            if not (self._under_way(key) or (timed and self.selection(key) is not None)):
                self.store.put_job(key, "queued", 0.0, "waiting")
                self._coarse.add(key)
                data = recipe_to_dict(recipe)
                self._engine.submit(key, data, _TRIAL, self._lost, tiers=("quick",), selects=True)
        return key

    def _under_way(self, key: str) -> bool:
        state = self.store.jobs([key]).get(key, {}).get("state")
        return state in ("queued", "running") or (state == "quick" and self._engine.has(key))

    def selection(self, key: str) -> dict[str, Any] | None:
        """Accuracy on the samples that searches choose by ("accuracy", "low", "high", "n_samples"), or None."""
        return self.store.get_part(key, stages.SELECTION)

    def submit_sweep(
        self, recipe: Recipe, technique: str, knob: str | None = None, values: Sequence[Any] | None = None
    ) -> list[str]:
        """Have a recipe measured at each value of one knob (the main knob and its usual values by default)."""
        found = get_technique(technique)
        knob = knob or found.main_knob
        if values is None:
            values = found.config_type.__dataclass_fields__[knob].metadata["knob"].sweep
        return [self.submit(own, priority=-10 - i) for i, own in enumerate(vary(recipe, technique, knob, values))]

    def submit_sensitivity(self, model: str, dataset: str, technique: str) -> str:
        """Have each layer's sensitivity to a technique measured; returns the job's key at once.

        Rows appear in `sensitivities` as they are measured; what is stored counts as measured.

        Raises:
            InputError: if model, dataset or technique are unknown, unavailable or do not fit.
        """
        key = sensitivity_key(model, dataset, technique)
        with self._lock:
            state = self.store.jobs([key]).get(key, {}).get("state")
            if state in ("queued", "running"):
                return key
            if read_map(self.store, key, technique).complete:
                self.store.put_job(key, "done", 1.0, "done")
                return key
            self.store.put_job(key, "queued", 0.0, "waiting")
            arguments = (model, dataset, technique)
            self._engine.submit_parts(key, measure_sensitivity, arguments, _SENSITIVITY_PARTS, _BACKGROUND, self._lost)
        return key

    def submit_prediction(self, model: str, dataset: str, technique: str) -> str:
        """Have each layer's sensitivity to a technique predicted; returns the job's key at once.

        Raises:
            InputError: if model, dataset or technique are unknown, unavailable or do not fit.
        """
        return self.predictions.submit(model, dataset, technique)

    def sensitivity_map(self, model: str, dataset: str, technique: str) -> SensitivityMap:
        """Layers, strengths and what is measured so far of a technique's sensitivities."""
        return read_map(self.store, sensitivity_key(model, dataset, technique), technique)

    def sensitivity_job(self, model: str, dataset: str, technique: str) -> str:
        """Key of the job that measures a technique's sensitivities, whether there is one or not.

        Raises:
            InputError: if model, dataset or technique are unknown, unavailable or do not fit.
        """
        return sensitivity_key(model, dataset, technique)

    def sensitivities(self, model: str, dataset: str, technique: str) -> list[Sensitivity]:
        """What is measured so far, in the order of the layers, of each the weakest strength first."""
        return list(self.sensitivity_map(model, dataset, technique).rows)

    def status(self, ids: Iterable[str]) -> dict[str, JobStatus]:
        """States of jobs, in the order asked; unknown ones are left out."""
        keys = list(dict.fromkeys(ids))
        rows = self.store.jobs(keys)
        found: dict[str, JobStatus] = {}
        results = self.known_results(keys)
        for key in keys:
            result = results.get(key)
            if result is not None and result.stage == "full":
                found[key] = JobStatus(key, "done", 1.0, "", None, result)
            elif key in rows:
                found[key] = JobStatus(id=key, result=result, **rows[key])
            elif result is not None:
                found[key] = JobStatus(key, "quick", 1.0, "", None, result)
        return found

    def cancel(self, ids: Iterable[str]) -> None:
        """Stop jobs that have not ended; results measured so far stay."""
        for key in ids:
            state = self.store.jobs([key]).get(key, {}).get("state")
            if state in ("queued", "running", "quick"):
                self.store.put_job(key, "cancelled", message="cancelled")
                self._engine.cancel(key)

    def finish_early(self, ids: Iterable[str]) -> None:
        """End the running trainings of jobs with the best state so far; their results say that they were stopped."""
        for key in ids:
            if self.training(key) is not None:
                self.store.put_part(key, ENOUGH, {})

    def training(self, key: str) -> TrainingRecord | None:
        """The curve so far of the training that a running job is at, or None."""
        if self.store.jobs([key]).get(key, {}).get("state") != "running":
            return None
        curve = self.store.get_part(key, CURVE)
        return None if curve is None else training_from_dict(curve)

    def train_whole(self, key: str) -> None:
        """Have the recipe of a result whose training was stopped early measured again, the whole training through."""
        result = self.result(key)
        if result is None or not result.stopped_early or result.stage != "full":
            return
        recipe = recipe_from_dict(result.recipe)
        if stages.key_of(recipe) == key:
            self.store.remove(key)
            self._known.pop(key, None)
            self._scores.pop(key, None)
        self.submit(recipe)

    def result(self, key: str) -> ExperimentResult | None:
        """The stored result of a key, or None."""
        return self.known_results([key]).get(key)

    def known_results(self, keys: Iterable[str]) -> dict[str, ExperimentResult]:
        """The stored results of those keys that have one, with their latencies on their clocks as of now."""
        wanted = list(dict.fromkeys(keys))
        read = {own.key: own for own in self.store.unresolved([key for key in wanted if key not in self._known])}
        self._known.update({key: own for key, own in read.items() if own.stage == "full"})
        found = [own for key in wanted if (own := read.get(key) or self._known.get(key)) is not None]
        return {own.key: own for own in self.store.timings.resolve(found)}

    def scores(self, keys: Iterable[str]) -> dict[str, Scores]:
        """Which predictions of results were right, by key, as far as it is stored; final ones are kept in memory."""
        wanted = list(dict.fromkeys(keys))
        found = self.store.scores([key for key in wanted if key not in self._scores])
        self._scores.update({key: own for key, own in found.items() if own.whole is not None})
        found.update({key: self._scores[key] for key in wanted if key in self._scores})
        return found

    def results(self, model: str | None = None, dataset: str | None = None) -> list[ExperimentResult]:
        """All stored results, oldest first; read anew when there are others than before."""
        if model is not None or dataset is not None:
            return self.store.results(model, dataset)
        stamp, listed = self.store.stamp(), self._listed
        if listed is None or listed[0] != stamp:
            self._listed = listed = (stamp, self.store.results())
        return list(listed[1])

    def wait(self, key: str, timeout: float | None = None) -> ExperimentResult:
        """Block until a job has ended.

        Raises:
            RuntimeError: if it failed or was cancelled.
        """
        self._engine.wait(key, timeout)
        result = self.result(key)
        if result is None:
            job = self.store.jobs([key]).get(key, {})
            raise RuntimeError(job.get("error") or job.get("state") or "unknown job")
        return result

    def bundle(self, key: str) -> Path:
        """A zip with everything that runs and reproduces a result; made on first use and when the result was refined.

        Raises:
            InputError: if there is no such result.
        """
        result = self.result(key)
        path = self._bundle_of(key, result)
        if path is None:
            path = export_bundle(self.store, key)
            self._bundles[key] = (path, result)
        return path

    def has_bundle(self, key: str) -> bool:
        """Whether `bundle` returns at once."""
        return self._bundle_of(key, self.result(key)) is not None

    def _bundle_of(self, key: str, result: ExperimentResult | None) -> Path | None:
        path, of = self._bundles.get(key, (None, None))
        return path if path is not None and of == result and path.is_file() else None

    def close(self) -> None:
        """Stop the searches, the downloads and the workers."""
        self.library.close()
        self.searches.close()
        self._engine.close()
        self.store.close()

    def _forget(self) -> None:
        """Results have been cleared."""
        self._known.clear()
        self._scores.clear()
        self._bundles.clear()
        self._coarse.clear()

    def _lost(self, key: str, reason: str) -> None:
        logger.error("job %s: %s", key, reason)
        self.store.put_job(key, "failed", error=reason)

