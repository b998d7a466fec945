"""The plots and tables of a search, read as data."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from compression.analysis.pareto import Measured
from compression.analysis.promise import Promise
from compression.problems import ACCURACY
from compression.search.outcomes import appraise
from compression.search.records import SearchRecord, TrialRecord
from compression.search.spec import Limits, SearchSpec
from compression.service import recipe_from_dict, recipe_to_dict
from pages.search.charts import Place, accuracy_window, front_figure, front_line, hidden_below, volume_figure
from pages.search.words import ago, asked, duration, first_figures, front_table, trial_table, verdict
from pages.shared.palette import origin_color
from tests.search.laboratories import BASELINE, made_up, synthetic_result

LIMITS = Limits(max_accuracy_drop=1.0, max_size_bytes=250_000, min_speedup=1.1)


def quantized(number: int, weight_bits: int, pruning_ratio: float = 0.0) -> TrialRecord:
    steps: list[dict[str, Any]] = [{"technique": "quantization", "weight_bits": weight_bits}]
    if pruning_ratio:
        steps.insert(0, {"technique": "channel_pruning", "pruning_ratio": pruning_ratio})
    recipe = recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "steps": steps})
    outcome, origin = made_up(recipe), ("probe", "plan", "sampler")[number % 3]
    data = recipe_to_dict(recipe)
    return TrialRecord(number, outcome.key, origin, data, "done", outcome)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def record() -> SearchRecord:
    """A search of fourteen trials, judged as one on disk is."""
    spec = SearchSpec("digits_resnet", "digits", ("channel_pruning", "quantization"), LIMITS, trials=14)
    settings = [(bits, ratio) for bits in (8, 5, 4, 3, 2) for ratio in (0.0, 0.15, 0.9)][:14]
    trials = [quantized(number, *own) for number, own in enumerate(settings)]
    ended = tuple((trial.number, trial.outcome) for trial in trials if trial.outcome is not None)
    judged = appraise(BASELINE, ended, LIMITS)
    judged_trials = tuple(replace(trial, standing=judged.standings[trial.number]) for trial in trials)
    return SearchRecord(
        "name", spec, "done", "Finished: the budget is used.", "", 60.0, BASELINE, judged_trials, volumes=judged.volumes
    )


def test_every_trial_is_drawn_once_by_origin_and_faded_beyond_a_limit(record: SearchRecord) -> None:
    figure = front_figure(record, "size")
    drawn = {}
    for trace in figure.data:
        if trace.customdata is not None:
            inside = "beyond" not in trace.name
            assert trace.marker.opacity == (1.0 if inside else 0.5)
            assert trace.marker.color == origin_color(trace.name.split(",")[0].lower(), "light")
            drawn |= {row[0]: inside for row in trace.customdata}
    assert drawn == {trial.key: trial.standing != "infeasible" for trial in record.trials}
    names = [trace.name for trace in figure.data]
    assert "Uncompressed (fp32)" in names and "Selected" not in names
    ringed = front_figure(record, "latency", selected=record.front[0].key, theme="dark")
    assert [trace.name for trace in ringed.data].count("Selected") == 1


def test_limits_are_dotted_lines_on_both_axes(record: SearchRecord) -> None:
    def lines(figure: object) -> set[float]:
        found = [s for s in figure.layout.shapes if s.type == "line"]  # type: ignore[attr-defined]
        return {round(s.x0 if s.x0 == s.x1 else s.y0, 4) for s in found}

    assert lines(front_figure(record, "size")) == {250.0, 99.0}
    assert lines(front_figure(record, "latency")) == {round(1 / 1.1, 4), 99.0}, "a speed-up by the baseline's clock"
    free = replace(record, spec=replace(record.spec, limits=Limits()))
    assert lines(front_figure(free, "size")) == set()


def test_the_view_is_near_the_limits_until_all_is_wanted(record: SearchRecord) -> None:
    window = accuracy_window(record)
    assert window is not None and 90 < window[0] < 99 <= window[1]
    low = [t for t in record.trials if t.outcome and 100 * t.outcome.accuracy < window[0]]
    assert hidden_below(record) == len(low) > 0
    assert front_figure(record, "size").layout.yaxis.range == window
    assert front_figure(record, "size", whole=True).layout.yaxis.range is None


def test_the_line_along_the_front_only_rises() -> None:
    places = [Place(Measured.exact(x), Measured.exact(y)) for x, y in ((3, 5), (1, 2), (2, 1), (4, 4), (1, 1))]
    assert [(p.cost.value, p.accuracy.value) for p in front_line(places)] == [(1, 2), (3, 5)]


def test_a_search_without_anything_yet_has_empty_axes(record: SearchRecord) -> None:
    empty = replace(record, baseline=None, trials=(), volumes=())
    assert not front_figure(empty, "size").data and accuracy_window(empty) is None
    assert list(volume_figure(empty).data[0].y) == []
    assert list(volume_figure(record).data[0].y) == list(record.volumes)


def test_the_tables_hold_all_trials_and_the_front(record: SearchRecord) -> None:
    table = trial_table(record, {})
    assert list(table["trial"]) == [trial.number for trial in record.trials]
    front = front_table(record, {})
    assert list(front.index) == [trial.key for trial in record.front]
    assert (front["points lost"] <= 1.0).all() and (front["packed kB"] <= 250).all()
    assert front_table(replace(record, trials=()), {}).empty


def test_words(record: SearchRecord) -> None:
    assert asked(record.spec) == "at most 1 point lost, at most 250.0 kB, at least 1.1 times as fast; 14 trials"
    assert asked(replace(record.spec, limits=Limits(), minutes=1.0)) == "no limits; 14 trials or 1 minute"
    assert [duration(own) for own in (5, 200, 7500)] == ["5 s", "3 min 20 s", "2 h 5 min"]
    now = datetime.now(UTC)
    assert ago((now - timedelta(seconds=5)).isoformat(), now) == "just now"
    assert ago((now - timedelta(minutes=5, seconds=9)).isoformat(), now) == "5 min ago"
    assert ago("2026-01-02T03:04:05+00:00", now) == "2026-01-02" and ago("", now) == ""
    assert "14 trials keep the limits" in verdict(record)
    assert verdict(replace(record, trials=record.trials[:1])).startswith("None of 1 trial keep")
    unlimited = replace(record, spec=replace(record.spec, limits=Limits()))
    count = len(unlimited.front)
    assert verdict(unlimited).endswith(f"{count} {'is' if count == 1 else 'are'} on the front.")


def test_only_finalists_with_a_shown_promise_count_as_kept(record: SearchRecord) -> None:
    first, *others = record.front
    promises = {own.key: Promise(1.0, 1.3, 1.9, 500, 1000) for own in others}
    promised = replace(record, promises={first.key: Promise(1.0, 0.71, 0.93, 5000, 10_000), **promises})
    assert promised.shown == [first] and record.shown == record.front
    assert f"1 of {len(record.front)} on the front shown to keep the limit" in verdict(promised)
    column = front_table(promised, {})["promise"]
    assert column[first.key] == "shown (0.71, at most 0.93 with 97.5 % confidence, n = 5,000)"
    assert set(column[[own.key for own in others]]) == {"not shown: 1.30 points lost, n = 500"}
    assert "promise" not in front_table(record, {})


def test_figures_of_a_trial_under_way_stand_as_soon_as_they_are_there(record: SearchRecord) -> None:
    result = synthetic_result(recipe_from_dict(record.trials[0].recipe))
    assert first_figures(None, None, ACCURACY) == []
    assert first_figures(result, None, ACCURACY) == ["250.0 kB"]
    assert first_figures(result, {"accuracy": 0.918}, ACCURACY) == ["250.0 kB", "validation accuracy 91.80 %"]
