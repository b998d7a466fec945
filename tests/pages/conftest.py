"""A stand-in for the application service: no worker, synthetic numbers, jobs that end when a test says so."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from compression import service as facade
from compression.analysis.differences import Difference
from compression.analysis.illustration import Illustration
from compression.analysis.runtime_records import RuntimeRecord
from compression.analysis.weight_statistics import LayerWeights
from compression.experiments.pairing import Scores
from compression.experiments.scoring_data import ScoringData, scoring_data
from compression.experiments.tasks import student_names
from compression.library.user_service import UserEntries
from compression.reports import Subject
from compression.reports.subject import comparable
from compression.service import (
    ExperimentResult,
    Figures,
    InputError,
    JobStatus,
    LayerRecord,
    Recipe,
    TrainingRecord,
    list_techniques,
    recipe_hash,
    recipe_to_dict,
)
from compression.service.runtime_exports import job_key
from models.datasets import dataset_info, list_datasets
from models.registry import list_models, model_info
from pages.layers import choice
from pages.search import form
from pages.shared import backend

ROOT = Path(__file__).resolve().parents[2]
BASELINE = Figures(
    accuracy=0.987, accuracy_low=0.976, accuracy_high=0.993, n_samples=719, size_bytes=1_000_000,
    runtime_size_bytes=1_100_000, macs=40_000_000, parameters=270_000, nonzero_parameters=270_000,
    latency_ms_p50=1.0, latency_ms_p95=1.2, latency_low=0.98, latency_high=1.02, speedup=1.0, speedup_low=1.0,
    speedup_high=1.0, peak_memory_bytes=3_000_000, energy_mj=0.4, cost_per_million=0.01,
)


def synthetic_result(recipe: Recipe, stage: str = "full") -> ExperimentResult:
    """Made-up numbers: the more is asked for, the smaller, faster and less accurate."""
    strength = 0.0
    for step in recipe.steps:
        numbers = [v for v in vars(step.config).values() if isinstance(v, int | float) and not isinstance(v, bool)]
        strength += 0.2 + 0.05 * (sum(numbers) % 7)
    factor = 1 / (1 + strength)
    loss = 0.02 * strength**2
    figures = replace(
        BASELINE, accuracy=BASELINE.accuracy - loss, accuracy_low=BASELINE.accuracy_low - loss,
        accuracy_high=BASELINE.accuracy_high - loss, size_bytes=round(BASELINE.size_bytes * factor),
        runtime_size_bytes=round(BASELINE.runtime_size_bytes * factor), latency_ms_p50=factor,
        latency_ms_p95=1.2 * factor, latency_low=0.98 * factor, latency_high=1.02 * factor, speedup=1 / factor,
        speedup_low=0.98 / factor, speedup_high=1.02 / factor,
    )
    layers = (
        LayerRecord("conv1", "Conv2d", (16, 1, 3, 3), 600, 147_456, 0.0, "float32", "float32", "first layer"),
        LayerRecord("linear", "Linear", (10, 64), 700, 640, 0.1, "8-bit grid", "int8"),
    )
    return ExperimentResult(
        key=f"key-{recipe_hash(recipe)[:16]}", recipe=recipe_to_dict(recipe), figures=figures, baseline=BASELINE,
        badges={"accuracy": "measured", "latency_ms_p50": "simulated"},
        badge_notes={"latency_ms_p50": "no kernel runs this"}, layers=layers,
        explanation=("Most of the file is one layer.",) if recipe.steps else (), stage=stage,  # type: ignore[arg-type]
    )


class FakeExports:
    """Exports without workers: records appear when a test puts them there."""

    def __init__(self, service: "FakeService") -> None:
        self.service = service
        self.records: dict[tuple[str, str], RuntimeRecord] = {}
        self.submitted: list[tuple[str, str]] = []

    def submit(self, key: str, runtime: str) -> str:
        self.submitted.append((key, runtime))
        self.service.states[job_key(key, runtime)] = "running"
        return job_key(key, runtime)

    def record(self, key: str, runtime: str) -> RuntimeRecord | None:
        return self.records.get((key, runtime))

    def file(self, key: str, runtime: str) -> Path:
        del key, runtime
        return Path(__file__)

    def subject(self, key: str) -> Subject:
        result = self.service.result(key)
        if result is None:
            raise InputError("result", key, "the key of a stored result is needed")
        records = tuple(record for (own, _), record in self.records.items() if own == key)
        model, data = model_info(str(result.recipe["model"])), dataset_info(str(result.recipe["dataset"]))
        return Subject(result, comparable(result, self.service.results()), records, model, data, "ab" * 32)


class FakeIllustrations:
    """Pictures that appear when a test puts them there."""

    def __init__(self, service: "FakeService") -> None:
        self.service = service
        self.pictures: dict[tuple[str, str], Illustration] = {}

    def job(self, model: str, technique: str) -> str:
        return f"picture-{model}-{technique}"

    def submit(self, model: str, technique: str) -> str:
        self.service.states[self.job(model, technique)] = "running"
        return self.job(model, technique)

    def get(self, model: str, technique: str) -> Illustration | None:
        return self.pictures.get((model, technique))


class FakeComparisons:
    """Differences and weights that appear when a test puts them there."""

    def __init__(self, service: "FakeService") -> None:
        self.service = service
        self.differences: dict[tuple[str, str], Difference] = {}
        self.counted: dict[str, tuple[LayerWeights, ...]] = {}

    def difference_job(self, first: str, second: str) -> str:
        return f"difference-{first}-{second}"

    def submit_difference(self, first: str, second: str) -> str:
        self.service.states[self.difference_job(first, second)] = "running"
        return self.difference_job(first, second)

    def difference(self, first: str, second: str) -> Difference | None:
        return self.differences.get((first, second))

    def weights_job(self, key: str) -> str:
        return f"weights-{key}"

    def submit_weights(self, key: str) -> str:
        self.service.states[self.weights_job(key)] = "running"
        return self.weights_job(key)

    def weights(self, key: str) -> tuple[LayerWeights, ...] | None:
        return self.counted.get(key)


class FakeService:
    """Answers like the real service. Jobs wait until `finish` is called; `automatic` ends one at each look."""

    def __init__(self) -> None:
        self.recipes: dict[str, Recipe] = {}
        self.states: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.submitted: list[tuple[Recipe, int]] = []
        self.automatic = False
        self.trainings: dict[str, TrainingRecord] = {}
        self.packed: set[str] = set()
        self.finished_early: list[str] = []
        self.trained_whole: list[str] = []
        self.refused: InputError | None = None
        self.exports = FakeExports(self)
        self.illustrations = FakeIllustrations(self)
        self.comparisons = FakeComparisons(self)
        self.own = UserEntries(None, None, None)  # type: ignore[arg-type]

    def models(self) -> list[object]:
        return list(list_models())

    def datasets(self) -> list[object]:
        return list(list_datasets())

    def scoring_data(self, model: str) -> tuple[ScoringData, ...]:
        return scoring_data(model)

    def techniques(self) -> list[object]:
        return list(list_techniques())

    def submit(self, recipe: Recipe, *, priority: int = 0) -> str:
        if self.refused is not None:
            raise self.refused
        key = f"key-{recipe_hash(recipe)[:16]}"
        self.submitted.append((recipe, priority))
        self.recipes[key] = recipe
        if self.states.get(key) != "done":
            self.states[key] = "queued"
        return key

    def finish(self, count: int | None = None, state: str = "done") -> None:
        """End the next jobs, in the order of their priorities."""
        waiting = [key for key, own in self.states.items() if own in ("queued", "running", "quick")]
        for key in waiting[:count]:
            self.states[key] = state

    def selection(self, key: str) -> None:
        """No trial is scored on the validation samples here."""

    def status(self, ids: Iterable[str]) -> dict[str, JobStatus]:
        if self.automatic:
            self.finish(1)
        found = {}
        for key in dict.fromkeys(ids):
            if key in self.states:
                state = self.states[key]
                found[key] = JobStatus(
                    key, state, 0.0 if state == "queued" else 1.0, "", self.errors.get(key), self.result(key)  # type: ignore[arg-type]
                )
        return found

    def result(self, key: str) -> ExperimentResult | None:
        state = self.states.get(key)
        if state in ("done", "quick") and key in self.recipes:
            return synthetic_result(self.recipes[key], "full" if state == "done" else "quick")
        return None

    def known_results(self, keys: Iterable[str]) -> dict[str, ExperimentResult]:
        return {key: own for key in keys if (own := self.result(key)) is not None}

    def scores(self, keys: Iterable[str]) -> dict[str, Scores]:
        del keys
        return {}

    def results(self, model: str | None = None, dataset: str | None = None) -> list[ExperimentResult]:
        wanted = {name: own for name, own in (("model", model), ("dataset", dataset)) if own is not None}
        own = [self.result(key) for key in self.states]
        return [r for r in own if r is not None and wanted.items() <= {k: r.recipe[k] for k in wanted}.items()]

    def cancel(self, ids: Iterable[str]) -> None:
        for key in ids:
            if self.states.get(key) in ("queued", "running", "quick"):
                self.states[key] = "cancelled"

    def students(self, model: str) -> tuple[str, ...]:
        return student_names(model)

    def training(self, key: str) -> TrainingRecord | None:
        return self.trainings.get(key)

    def finish_early(self, ids: Iterable[str]) -> None:
        self.finished_early += ids

    def train_whole(self, key: str) -> None:
        self.trained_whole.append(key)

    def bundle(self, key: str) -> Path:
        assert self.states[key] in ("quick", "done"), key
        self.packed.add(key)
        return Path(__file__)

    def has_bundle(self, key: str) -> bool:
        return key in self.packed


@pytest.fixture(autouse=True)
def _digits_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages open with a model whose dataset is small."""
    monkeypatch.setattr(facade, "FIRST_MODEL", "digits_resnet", raising=False)
    monkeypatch.setattr(form, "FIRST_MODEL", "digits_resnet")
    monkeypatch.setattr(choice, "FIRST_MODEL", "digits_resnet")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """The stand-in, in place of the real service."""
    service = FakeService()
    monkeypatch.setattr(backend, "service", lambda: service)
    return service


@pytest.fixture
def app(fake: FakeService) -> AppTest:
    """The whole application with the stand-in behind it; not yet run."""
    del fake
    return AppTest.from_file(str(ROOT / "pages" / "main.py"), default_timeout=20)


@pytest.fixture
def make_result() -> Callable[[Recipe], ExperimentResult]:
    """Makes a synthetic result of a recipe."""
    return synthetic_result
