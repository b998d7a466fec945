"""Every page beside real results of two models, some final, some coarse: all figures agree with each other.

The artifacts and their scores are real. Timings are made up, each from a time at which the machine was differently
fast, so that a latency that is not on the baseline's clock shows.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from compression.cli.main import main
from compression.experiments import stages
from compression.experiments.store import ResultStore
from compression.experiments.wording import milliseconds
from compression.metrics.latency import LatencyRecord
from compression.reports import model_card, report_html
from compression.search.laboratory import outcome_of
from compression.search.records import SearchRecord, TrialRecord
from compression.search.spec import Limits, SearchSpec
from compression.service import ExperimentResult, Recipe, Service, recipe_from_dict
from pages.search.words import front_table, trial_table
from pages.shared import backend
from pages.shared.exchange import address_values
from pages.shared.url.state import widget_values

ROOT = Path(__file__).resolve().parents[2]
MODELS = ("digits_resnet", "digits_mobilenet")
FINAL = {"technique": "quantization", "weight_bits": 8, "activation_bits": 8}
COARSE = {"technique": "quantization", "weight_bits": 4}


def recipe(model: str, *steps: dict[str, Any]) -> Recipe:
    return recipe_from_dict({"model": model, "dataset": "digits", "steps": list(steps)})


class DriftingTimer:
    """A machine that is at another pace at each timing."""

    def __init__(self) -> None:
        self.paces = iter([1.0, 1.3, 0.8, 1.1, 1.6, 0.9, 1.2, 1.4] * 9)

    def time_pair(self, candidate: Path, baseline: Path, *arguments: object, tier: str, **keywords: object) -> Any:
        del arguments, keywords
        base, spread = next(self.paces), 0.1 if tier == "quick" else 0.01
        ratio = 1.0 if candidate == baseline else 1.0 + candidate.stat().st_size % 97 / 60
        own = base / ratio
        return LatencyRecord(
            own, 1.1 * own, own * (1 - spread), own * (1 + spread), base, 1.2 * base, base * (1 - spread),
            base * (1 + spread), ratio, ratio * (1 - spread), ratio * (1 + spread), 1000, 6 if tier == "quick" else 200,
        )


class IdleEngine:
    """Carries out nothing."""

    compute_workers = 1

    def submit(self, *arguments: object, **keywords: object) -> None: ...
    def submit_stages(self, *arguments: object, **keywords: object) -> None: ...
    def submit_parts(self, *arguments: object, **keywords: object) -> None: ...
    def cancel(self, key: str) -> None: ...
    def close(self) -> None: ...
    def has(self, key: str) -> bool:
        return bool(key)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "_TIMER", DriftingTimer())
        patch.setattr(stages, "measure_peak_memory", lambda *own, **others: 3_000_000)
        patch.setattr(stages, "measure_energy", lambda *own, **others: None)
        store = ResultStore(root)
        for model in MODELS:
            for tier, steps in (("full", ()), ("full", (FINAL,)), ("quick", (COARSE,))):
                own = recipe(model, *steps)
                stages.build(own, store)
                stages.score(own, store, tier)  # type: ignore[arg-type]
                stages.score_selection(own, store)
                stages.clock(own, store, tier)  # type: ignore[arg-type]
                stages.conclude(own, store)
        store.close()
    yield root


@pytest.fixture
def service(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    own = Service(home, IdleEngine())  # type: ignore[arg-type]
    monkeypatch.setattr(backend, "service", lambda: own)
    yield own
    own.close()


@pytest.fixture
def open_page(service: Service) -> Callable[..., AppTest]:
    def open_(page: str, **address: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "pages" / "main.py"), default_timeout=120)
        for name, value in address.items():
            app.query_params[name] = value
        app = (app.switch_page(f"{page}/{page}.py") if page != "explore" else app).run()
        assert not app.exception, app.exception[0].message
        return app

    return open_


def figures_by_model(service: Service) -> dict[str, list[ExperimentResult]]:
    return {model: [own for own in service.results() if own.model_name == model] for model in MODELS}


def texts(page: AppTest) -> str:
    """All that a page says outside its tables."""
    said = [own.value for kind in ("markdown", "caption", "info", "success", "warning") for own in getattr(page, kind)]
    for metric in page.metric:
        said += [metric.label, metric.value, str(metric.delta), metric.help]
    return "\n".join(map(str, said))


def known_milliseconds(results: Iterable[ExperimentResult]) -> set[str]:
    """Every latency that may stand on a page of these results, as it is written."""
    found: set[str] = set()
    for own in results:
        for figures in (own.figures, own.baseline):
            for value in (figures.latency_ms_p50, figures.latency_ms_p95, figures.latency_low, figures.latency_high):
                assert value is not None
                found |= {milliseconds(value), f"{value:.3g} ms", f"{value:#.3g} ms"}
    return found


def check_latencies(text: str, results: Iterable[ExperimentResult]) -> int:
    """How many latencies a text has; all must be those of the results on their clock."""
    shown = re.findall(r"\d[\d.]* ms\b", text)
    assert set(shown) <= known_milliseconds(results), set(shown) - known_milliseconds(results)
    return len(shown)


def cards(page: AppTest) -> dict[str, Any]:
    return {metric.label: metric for metric in page.metric}


def check_cards(page: AppTest, result: ExperimentResult) -> None:
    """The cards are the result's, its difference is on its samples, its speed-up the quotient of the latencies."""
    own, base, found = result.figures, result.baseline, cards(page)
    assert found["Latency"].value == milliseconds(own.latency_ms_p50 or 0.0)
    assert f"{base.latency_ms_p50 / own.latency_ms_p50:.2f}x" in found["Latency"].help  # type: ignore[operator]
    assert found["Accuracy"].value == f"{100 * own.accuracy:.1f} %"
    assert own.n_samples == base.n_samples == result.change.n_samples  # type: ignore[union-attr]
    points = f"{abs(100 * (own.accuracy - base.accuracy)):.1f} points"
    assert points in found["Accuracy"].delta
    assert ("a tie" in found["Accuracy"].delta) == result.change.tied  # type: ignore[union-attr]
    badges = " ".join(own.value for own in page.markdown if "badge[" in own.value)
    assert (f"preliminary, {result.samples}" in badges) == (result.stage == "quick")


def test_the_store_is_on_one_clock(service: Service) -> None:
    for results in figures_by_model(service).values():
        assert [own.stage for own in results] == ["full", "full", "quick"]
        assert len({own.baseline.latency_ms_p50 for own in results}) == 1
        for own in results:
            quotient = own.baseline.latency_ms_p50 / own.figures.latency_ms_p50  # type: ignore[operator]
            assert quotient == pytest.approx(own.figures.speedup)
    clocks = {own.clock for own in service.results()}
    assert len(clocks) == len(MODELS)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("steps", [FINAL, COARSE], ids=["final", "coarse"])
def test_explore_agrees_with_the_store(
    open_page: Callable[..., AppTest], service: Service, model: str, steps: dict[str, Any]
) -> None:
    own = recipe(model, steps)
    values = widget_values(own, [info.name for info in service.models()], service.techniques())
    page = open_page("explore", **{key: str(value) for key, value in address_values(values).items()})
    result = service.result(stages.key_of(own))
    assert result is not None
    check_cards(page, result)
    results = figures_by_model(service)[model]
    assert check_latencies(texts(page), results) >= 4, "header, card and their intervals"
    points = next(own.value for own in page.dataframe if "on the frontier" in own.value)
    base = points[points["series"] == "uncompressed"].iloc[0]
    for _, row in points.iterrows():
        assert base["latency ms"] / row["latency ms"] == pytest.approx(row["speed-up"])
    figures = next(own.value for own in page.dataframe if "this artifact" in own.value)
    check_latencies(figures.to_string(), results)


def test_compare_agrees_with_the_store(open_page: Callable[..., AppTest], service: Service) -> None:
    results = service.results()
    page = open_page("compare", pins=",".join(own.key for own in results if own.model_name == MODELS[0]))
    check_latencies(texts(page), results)
    runs = next(own.value for own in page.dataframe if "samples" in own.value and "stage" in own.value)
    for result in results:
        same = (runs["model"] == result.model_name) & (runs["packed kB"] == result.figures.size_bytes / 1000)
        row = runs[same].iloc[0]
        assert row["latency ms"] == pytest.approx(result.figures.latency_ms_p50)
        assert row["speed-up"] == pytest.approx(result.figures.speedup)
        assert row["change"] == pytest.approx(0 if result.change is None else 100 * result.change.value)
        assert row["samples"] == result.figures.n_samples


def test_layers_agrees_with_the_store(open_page: Callable[..., AppTest], service: Service) -> None:
    page = open_page("layers", model=MODELS[0])
    check_latencies(texts(page) + "".join(own.value.to_string() for own in page.dataframe), service.results())


def test_export_report_card_and_bundle_agree_with_the_store(
    open_page: Callable[..., AppTest], service: Service, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = service.result(stages.key_of(recipe(MODELS[0], FINAL)))
    assert result is not None
    results = figures_by_model(service)[MODELS[0]]
    page = open_page("export", result=result.key)
    check_latencies(texts(page) + "".join(own.value.to_string() for own in page.dataframe), results)
    subject = service.exports.subject(result.key)
    for text in (report_html(subject), model_card(subject)):
        assert check_latencies(text, results) >= 2
        assert f"{result.figures.speedup:.2f}x" in text
    with ZipFile(service.bundle(result.key)) as bundle:
        bundled = json.loads(bundle.read("result.json"))
        readme = bundle.read("README.md").decode()
    assert bundled["figures"] == json.loads(json.dumps(asdict(result.figures)))
    assert bundled["baseline"] == json.loads(json.dumps(asdict(result.baseline)))
    assert check_latencies(readme, results) >= 2
    assert main(["export", result.key, "--report", str(home / "report.html"), "--store", str(home), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    for figures, stated in ((printed, bundled["figures"]), (printed["baseline"], bundled["baseline"])):
        shown = {name: figures[name] for name in stated if name in figures}
        assert shown == {name: stated[name] for name in shown}
        assert {"accuracy", "size_bytes", "latency_ms_p50", "latency_low", "speedup", "speedup_low"} <= shown.keys()


def test_a_search_agrees_with_the_store(service: Service) -> None:
    results = figures_by_model(service)[MODELS[0]]
    outcomes = {own.key: outcome_of(own, service.selection(own.key)) for own in results}
    refreshed = service.searches._laboratory.current([own for own in outcomes.values() if own is not None])
    spec = SearchSpec(MODELS[0], "digits", ("quantization",), Limits(), trials=2)
    trials = tuple(
        TrialRecord(number, own.key, "sampler", result.recipe, "done", own, "front")
        for number, (own, result) in enumerate(zip(refreshed[1:], results[1:], strict=True), 1)
    )
    record = SearchRecord("name", spec, "done", "", "", 1.0, refreshed[0], trials)
    known = {own.key: own for own in results}
    front, table = front_table(record, known), trial_table(record, known)
    for frame in (front, table.set_index(pd.Index([trial.key for trial in trials]))):
        for key, row in frame.iterrows():
            figures, outcome = known[str(key)].figures, next(own for own in refreshed if own.key == key)
            assert row["latency ms"] == pytest.approx(figures.latency_ms_p50)
            assert row["speed-up"] == pytest.approx(figures.speedup)
            assert row["test accuracy %"] == pytest.approx(100 * figures.accuracy)
            assert row["validation accuracy %"] == pytest.approx(100 * outcome.accuracy)
            assert ("preliminary" in row["test accuracy, 95 %"]) == (known[str(key)].stage == "quick")


def test_the_library_agrees_with_the_store(open_page: Callable[..., AppTest], service: Service) -> None:
    page = open_page("library")
    baselines = {own.model_name: own.figures for own in service.results() if not own.recipe["steps"]}
    table = next(own.value for own in page.dataframe if "latency ms" in own.value)
    assert set(table["latency ms"].dropna()) == {figures.latency_ms_p50 for figures in baselines.values()}
