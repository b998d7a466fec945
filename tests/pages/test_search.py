"""The Search page: what is asked for, what a running search shows, and what becomes of what it finds."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from compression.search.records import SearchRecord
from compression.search.searches import Searches
from compression.search.spec import Limits, SearchSpec
from models.datasets import list_datasets
from pages.search.form import form_values, limits_of
from pages.shared.url import address
from tests.search.laboratories import FakeLaboratory

TECHNIQUES = ("channel_pruning", "quantization")
SPEC = SearchSpec("digits_resnet", "digits", TECHNIQUES, Limits(max_accuracy_drop=1.0), trials=8)
OUT_OF_REACH = replace(SPEC, limits=Limits(max_accuracy_drop=1.0, max_size_bytes=3_000), trials=200)


@pytest.fixture
def laboratory() -> FakeLaboratory:
    return FakeLaboratory()


@pytest.fixture
def searches(fake: Any, laboratory: FakeLaboratory, tmp_path: Path) -> Iterator[Searches]:
    """Real searches on made-up outcomes, behind the stand-in for the service."""
    own = Searches(tmp_path, laboratory)
    fake.searches, fake.result, fake.datasets = own, laboratory.result, list_datasets
    yield own
    own.close()


def search_page(app: AppTest, **address: str) -> AppTest:
    app.default_timeout = 60  # the first search imports Optuna
    for name, value in address.items():
        app.query_params[name] = value
    return shown(app.switch_page("search/search.py").run())


def shown(page: AppTest) -> AppTest:
    assert not page.exception
    return page


def finished(searches: Searches, spec: SearchSpec = SPEC) -> SearchRecord:
    name = searches.start(spec)
    searches.wait(name, 300)
    record = searches.read(name)
    assert record is not None
    return record


def until(searches: Searches, name: str, reached: Callable[[SearchRecord], bool]) -> SearchRecord:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        record = searches.read(name)
        if record is not None and reached(record):
            return record
        time.sleep(0.02)
    raise AssertionError(name)


def keys(page: AppTest) -> set[str]:
    return {button.key for button in page.button if button.key}


def badges(page: AppTest) -> str:
    return " ".join(own.value for own in page.markdown if "-badge" in own.value)


def test_an_empty_store_says_so_and_the_form_asks_for_something_useful(app: AppTest, searches: Searches) -> None:
    page = search_page(app)
    assert any("None yet" in caption.value for caption in page.caption)
    assert page.number_input(key="max-lost").value == 1.0 and page.number_input(key="trials").value == 30
    assert set(page.pills(key="use").value) == {"channel_pruning", "weight_pruning", "quantization"}
    assert page.query_params["max-lost"] == "1"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("max-kb", -5.0, "Packed size at most (kB): -5 is not allowed; allowed: a number above 0"),
        ("max-lost", 200.0, "Accuracy lost at most (points): 200 is not allowed; allowed: a number from 0 to 100"),
        ("trials", 0, "Trials: 0 is not allowed; allowed: a whole number from 1 to 2000"),
        ("minutes", -1.0, "Minutes: -1 is not allowed"),
    ],
)
def test_what_is_not_allowed_is_said_in_the_forms_own_words(
    app: AppTest, searches: Searches, key: str, value: float, said: str
) -> None:
    page = search_page(app)
    page.number_input(key=key).set_value(value).run()
    assert said in page.error[0].value and page.button(key="start").disabled


def test_without_techniques_nothing_starts_and_without_limits_it_is_said(app: AppTest, searches: Searches) -> None:
    page = search_page(app)
    page.pills(key="use").set_value([]).run()
    assert "at least one is needed" in page.error[0].value and page.button(key="start").disabled
    page = search_page(AppTest.from_file(app._script_path, default_timeout=20), **{"max-kb": "200"})
    assert page.number_input(key="max-lost").value is None, "a field that the address leaves out was emptied"
    page.number_input(key="max-kb").set_value(None).run()
    assert any("No limit is set" in info.value for info in page.info)


def test_a_started_search_is_the_address_and_is_shown_when_done(app: AppTest, searches: Searches) -> None:
    page = search_page(app)
    page.number_input(key="max-kb").set_value(500.0)
    page.number_input(key="trials").set_value(8)
    page.pills(key="use").set_value(list(TECHNIQUES))
    shown(page.button(key="start").click().run())
    name = page.query_params["search"]
    assert searches.read(name).spec == replace(SPEC, limits=Limits(1.0, 500_000.0))  # type: ignore[union-attr]
    searches.wait(name, 300)
    shown(page.run())
    assert any("keep the limits" in own.value for own in page.success)
    assert page.metric[0].value == "8 of 8"
    assert any("the test split chooses nothing" in caption.value for caption in page.caption)
    table = page.dataframe[0].value
    assert list(table["packed kB"]) == sorted(table["packed kB"]) and set(table["measured"]) == {"in full"}
    other = search_page(AppTest.from_file(app._script_path, default_timeout=20), search=name)
    assert other.dataframe[0].value.equals(table), "the address alone shows the same"


def test_a_running_search_can_be_paused_resumed_and_stopped(
    app: AppTest, searches: Searches, laboratory: FakeLaboratory
) -> None:
    laboratory.open = False
    name = searches.start(SPEC)
    until(searches, name, lambda own: len(own.running) == 2)
    page = search_page(app, search=name)
    assert "running" in badges(page) and any("Being tried now" in own.value for own in page.markdown)
    shown(page.button(key="search-pause").click().run())
    assert page.button(key="search-pause").disabled, "it waits for what is under way"
    laboratory.open = True
    until(searches, name, lambda own: own.state == "paused")
    shown(page.run())
    assert any("Nothing is lost" in info.value for info in page.info) and "search-stop" not in keys(page)
    laboratory.open = False
    shown(page.button(key="search-resume").click().run())
    until(searches, name, lambda own: own.state == "running" and bool(own.running))
    shown(page.run())
    shown(page.button(key="search-stop").click().run())
    until(searches, name, lambda own: own.state == "stopped")
    assert any("Stopped" in info.value for info in shown(page.run()).info)


def test_a_search_goes_on_after_a_restart(
    app: AppTest, fake: Any, searches: Searches, laboratory: FakeLaboratory, tmp_path: Path
) -> None:
    laboratory.open = False
    name = searches.start(SPEC)
    until(searches, name, lambda own: len(own.running) == 2)
    searches.close()
    fake.searches = again = Searches(tmp_path, laboratory)
    page = search_page(app, search=name)
    assert any("server stopped" in warning.value for warning in page.warning)
    laboratory.open = True
    shown(page.button(key="search-resume").click().run())
    again.wait(name, 300)
    assert shown(page.run()).metric[0].value == "8 of 8" and "done" in badges(page)
    again.close()


def test_limits_out_of_reach_offer_the_nearest_and_to_search_anyway(
    app: AppTest, searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "LATE_SECONDS", 0.0)  # the way back is taken at once here
    record = finished(searches, OUT_OF_REACH)
    page = search_page(app, search=record.id)
    assert "Out of reach: at most 3.0 kB" in page.warning[0].value
    assert any(caption.value.startswith("Nearest: at most 1 point lost, at most") for caption in page.caption)
    shown(page.button(key="search-ease").click().run())
    eased = page.query_params["search"]
    assert eased != record.id and searches.read(eased).spec.limits == record.reachable  # type: ignore[union-attr]
    searches.stop(eased)
    page = search_page(page, search=record.id)
    shown(page.button(key="search-anyway").click().run())
    until(searches, record.id, lambda own: len(own.finished) > len(record.finished))
    searches.stop(record.id)


def test_a_trial_is_chosen_pinned_and_opened_in_explore(app: AppTest, searches: Searches) -> None:
    record = finished(searches)
    trial = record.front[0]
    page = search_page(app, search=record.id, point=trial.key)
    assert [metric.label for metric in page.metric].count("Packed size") == 1
    shown(page.button(key="search-pin").click().run())
    assert page.query_params["pins"] == trial.key
    assert any("Pinned: trial" in own.value for own in page.markdown)
    shown(page.button(key="search-pin").click().run())
    assert "pins" not in page.query_params
    shown(page.button(key="search-explore").click().run())
    used = {step["technique"] for step in trial.recipe["steps"]}
    assert {key for key in TECHNIQUES if page.toggle(key=key).value} == used


def test_earlier_searches_are_listed_reopened_repeated_and_deleted(
    app: AppTest, searches: Searches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "LATE_SECONDS", 0.0)  # the way back is taken at once here
    first, second = finished(searches), finished(searches, replace(SPEC, trials=3, limits=Limits(min_speedup=1.5)))
    page = search_page(app)
    opened = [key for key in (button.key for button in page.button) if key and key.startswith("open-")]
    assert opened == [f"open-{second.id}", f"open-{first.id}"]
    shown(page.button(key=f"open-{second.id}").click().run())
    assert page.query_params["search"] == second.id
    shown(page.button(key="search-again").click().run())
    assert "search" not in page.query_params and page.number_input(key="at-least").value == 1.5
    assert page.number_input(key="max-lost").value is None and set(page.pills(key="use").value) == set(TECHNIQUES)
    shown(page.button(key=f"open-{first.id}").click().run())
    shown(page.button(key="search-delete").click().run())
    assert searches.names() == [second.id] and "search" not in page.query_params
    page = search_page(page, search=first.id)
    assert "may have been deleted" in page.warning[0].value


def test_the_form_asks_for_the_same_again() -> None:
    spec = replace(SPEC, limits=Limits(0.5, 120_500.0, 0.25, 2.0), minutes=3.0, strategy="tpe", seed=7)
    values = form_values(spec)
    assert (values["max-lost"], values["max-kb"], values["max-ms"], values["at-least"]) == (0.5, 120.5, 0.25, 2.0)
    assert (values["trials"], values["minutes"], values["strategy"]) == (8, 3.0, "tpe")


def test_of_a_regression_r2_may_be_lost() -> None:
    labels = {task: [limit.label for limit in limits_of(task)] for task in ("image_classification", "regression")}
    assert labels["image_classification"][0] == "Accuracy lost at most (points)"
    assert labels["regression"][0] == "R2 lost at most (hundredths)"
    assert labels["regression"][1:] == labels["image_classification"][1:]
    assert {limit.key for limit in limits_of("regression")} == {limit.key for limit in limits_of("sentiment")}
