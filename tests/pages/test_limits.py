"""Limits: which points keep them, which of these is the best, and how they are drawn."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from compression.analysis.pareto import knee
from compression.experiments.pairing import AccuracyChange
from compression.service import ExperimentResult, recipe_from_dict
from pages.explore.charts import Mark, mark_of, pareto_figure
from pages.explore.limits import FASTEST, LIMITS, MOST_ACCURATE, best_within, bound_of, tied_limits, within
from pages.shared.axes import ACCURACY, COSTS

SIZE, LATENCY = COSTS["size_bytes"], COSTS["latency_ms_p50"]


@pytest.fixture
def mark(make_result: Callable[..., ExperimentResult]) -> Callable[..., Mark]:
    """A point of given accuracy, bytes and milliseconds."""

    def make(accuracy: float, size: int, latency: float | None, sparsity: float = 0.5) -> Mark:
        step = {"technique": "weight_pruning", "sparsity": sparsity}
        found = make_result(recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "steps": [step]}))
        speedup = None if latency is None else 1 / latency
        figures = replace(
            found.figures, accuracy=accuracy, accuracy_low=accuracy, accuracy_high=accuracy, size_bytes=size,
            latency_ms_p50=latency, latency_low=latency, latency_high=latency, speedup=speedup, speedup_low=speedup,
            speedup_high=speedup,
        )
        return replace(mark_of(found, "sweep", "weight_pruning", "Weight pruning"), figures=figures)

    return make


def test_a_point_must_keep_every_limit(mark: Callable[..., Mark]) -> None:
    point = mark(0.98, 100_000, 0.5)
    assert within(point, {})
    assert within(point, {"min-accuracy": 98.0, "max-size": 100.0, "max-latency": 0.5})
    for broken in ({"min-accuracy": 98.1}, {"max-size": 99.9}, {"max-latency": 0.49}, {"min-speedup": 1e6}):
        assert not within(point, broken)
    assert not within(mark(0.98, 100_000, None), {"max-latency": 9.0}), "what is not measured yet keeps no limit"


def test_the_best_is_that_of_the_objective_within_the_limits(mark: Callable[..., Mark]) -> None:
    small, middle, large = mark(0.90, 10_000, 0.3, 0.9), mark(0.97, 50_000, 0.4, 0.7), mark(0.99, 90_000, 0.2, 0.3)
    marks = [large, small, middle]
    assert best_within(marks, {"min-accuracy": 95.0}) == middle
    assert best_within(marks, {}) == small
    assert best_within(marks, {}, FASTEST) == best_within(marks, {}, MOST_ACCURATE) == large
    assert best_within(marks, {"max-size": 60.0}, FASTEST) == small
    assert best_within(marks, {"max-size": 60.0}, MOST_ACCURATE) == middle
    assert best_within(marks, {"min-accuracy": 99.5}) is None
    better = mark(0.98, 50_000, 0.4, 0.71)
    assert best_within([*marks, better], {"min-accuracy": 95.0}) == better, "of one size the more accurate one"
    baseline = replace(mark(0.995, 100_000, 0.1), kind="baseline")
    assert best_within([*marks, baseline], {}, MOST_ACCURATE) == large, "the uncompressed model is no compression"
    assert best_within([*marks, baseline], {"min-accuracy": 99.4}) == baseline


def test_limits_may_be_relative_to_the_uncompressed_model(mark: Callable[..., Mark]) -> None:
    baseline = mark(0.933, 200_000, 2.0).figures
    assert baseline.n_samples == 719
    point = mark(0.923, 100_000, 1.0)
    for kept, broken in (({"max-drop": 1.0}, {"max-drop": 0.9}), ({"max-share": 50.0}, {"max-share": 49.9})):
        assert within(point, kept, baseline) and not within(point, broken, baseline)
        assert not within(point, kept), "without the uncompressed model nothing can be said"
    few = replace(point, figures=replace(point.figures, n_samples=160))
    assert not within(few, {"max-drop": 1.0}, baseline), "160 samples are no match for 719"
    assert bound_of(ACCURACY, {"max-drop": 1.0}, baseline) == pytest.approx(92.3)
    assert bound_of(ACCURACY, {"max-drop": 1.0, "min-accuracy": 93.0}, baseline) == 93.0
    assert bound_of(SIZE, {"max-share": 50.0}, baseline) == 100.0
    assert bound_of(SIZE, {"max-share": 50.0}) is None


def test_a_limit_inside_an_interval_is_a_tie(mark: Callable[..., Mark]) -> None:
    baseline = mark(0.933, 200_000, 2.0).figures
    point = replace(mark(0.926, 100_000, 0.5), change=AccuracyChange(-0.007, -0.011, -0.003, 719))
    limits = {"max-drop": 1.0, "min-speedup": 1.9}
    assert within(point, limits, baseline), "by its value it keeps the limit"
    assert [limit.key for limit in tied_limits(point, limits, baseline)] == ["max-drop"]
    sure = replace(point, change=AccuracyChange(-0.007, -0.009, -0.005, 719))
    assert tied_limits(sure, limits, baseline) == []
    slow = replace(sure, figures=replace(sure.figures, speedup_low=1.8, speedup_high=2.2))
    assert [limit.key for limit in tied_limits(slow, limits, baseline)] == ["min-speedup"]
    assert tied_limits(replace(point, kind="baseline"), limits, baseline) == []


def test_a_limit_has_a_name_that_fits_into_a_sentence() -> None:
    names = {limit.key: limit.name for limit in LIMITS}
    assert names == {
        "max-drop": "accuracy lost", "min-speedup": "speed-up", "max-share": "packed size", "min-accuracy": "accuracy",
        "min-r2": "R2", "max-mae": "mean absolute error", "max-latency": "latency", "max-size": "packed size",
    }


def test_the_words_at_a_limit_stand_beyond_it_where_they_hide_no_point_within(mark: Callable[..., Mark]) -> None:
    figure = pareto_figure([mark(0.98, 100_000, 0.5)], SIZE, ACCURACY, bounds=(None, 97.0))
    (note,) = [own for own in figure.layout.annotations if own.name == "limit"]
    assert (note.y, note.yanchor, note.text) == (97.0, "top", "at least 97 %")


def test_bounds_are_those_of_the_axis() -> None:
    absolute = [limit for limit in LIMITS if limit.relative is None]
    assert {bound_of(limit.axis, {limit.key: 3.0}) for limit in absolute} == {3.0}
    assert bound_of(COSTS["macs"], {"max-size": 3.0}) is None


def test_a_limit_of_speed_up_is_one_of_latency(mark: Callable[..., Mark]) -> None:
    baseline = replace(mark(0.99, 100_000, 2.0).figures, latency_ms_p50=2.0)
    assert bound_of(LATENCY, {"min-speedup": 4.0}, baseline) == 0.5
    assert bound_of(LATENCY, {"min-speedup": 4.0, "max-latency": 0.4}, baseline) == 0.4
    assert bound_of(COSTS["speedup"], {"min-speedup": 1.5, "max-latency": 0.4}, baseline) == 5.0
    assert bound_of(LATENCY, {"min-speedup": 4.0}) is None


def test_points_that_break_a_limit_are_pale_on_every_plot(mark: Callable[..., Mark]) -> None:
    marks = [replace(mark(0.90, 10_000, 0.3), id="small"), replace(mark(0.99, 90_000, 0.5), id="large")]
    for axis in (SIZE, LATENCY):
        curve = next(t for t in pareto_figure(marks, axis, ACCURACY, inside={"small"}).data if t.customdata is not None)
        assert dict(zip([c[0] for c in curve.customdata], curve.marker.opacity, strict=True)) == {
            "small": 1.0, "large": pytest.approx(0.3),
        }


def test_what_lies_beyond_a_limit_is_shaded(mark: Callable[..., Mark]) -> None:
    marks = [mark(0.90, 10_000, 0.3), mark(0.99, 90_000, 0.5)]
    figure = pareto_figure(marks, SIZE, ACCURACY, bounds=(50.0, 95.0))
    ceiling, _, floor, _ = figure.layout.shapes
    assert (ceiling.x0, ceiling.yref) == (50.0, "paper")
    assert 90 <= ceiling.x1 <= 110
    assert (floor.y0, floor.xref) == (95.0, "paper")
    assert 85 <= floor.y1 <= 90
    notes = [note for note in figure.layout.annotations if note.name == "limit"]
    assert [note.text for note in notes] == ["at most 50 kB", "at least 95 %"]
    assert (notes[0].x, notes[0].xanchor) == (50.0, "left"), "where there is room: an annotation is not cut off"
    (far, _) = pareto_figure(marks, SIZE, ACCURACY, bounds=(89.0, 95.0)).layout.annotations
    assert far.xanchor == "right"
    (scaled,) = pareto_figure(marks, SIZE, ACCURACY, bounds=(50.0, None), log_x=True).layout.annotations
    assert scaled.x == pytest.approx(1.69897)
    assert not pareto_figure(marks, SIZE, ACCURACY).layout.shapes


def test_the_knee_is_where_the_front_bends() -> None:
    assert knee([(0.0, 10.0), (1.0, 2.0), (10.0, 0.0)]) == 1
    assert knee([(0.0, 10.0), (5.0, 5.0), (10.0, 0.0)]) is None
    assert knee([(0.0, 10.0), (9.0, 8.0), (10.0, 0.0)]) is None
    assert knee([(0.0, 1.0), (1.0, 0.0)]) is None


def test_the_knee_is_named_on_the_plot(mark: Callable[..., Mark]) -> None:
    marks = [mark(0.5, 10_000, 0.3, 0.9), mark(0.97, 20_000, 0.4, 0.7), mark(0.99, 100_000, 0.5, 0.3)]
    (note,) = pareto_figure(marks, SIZE, ACCURACY).layout.annotations
    assert (note.x, note.y, note.text) == (20.0, pytest.approx(97.0), "knee")
    logarithmic = pareto_figure(marks, SIZE, ACCURACY, log_x=True)
    assert logarithmic.layout.xaxis.dtick == "D2", "not every digit, which would overlap"
    assert pareto_figure(marks[:2], SIZE, ACCURACY, log_x=True).layout.xaxis.dtick is None, "1, 2, 5 may all be outside"
    alone = pareto_figure(marks[:1], SIZE, ACCURACY, log_x=True)
    assert alone.layout.xaxis.dtick == "D2", "two decades around a single value"
    (note,) = logarithmic.layout.annotations
    assert note.x == pytest.approx(1.30103)
    assert note.ax == note.ay  # else the diagonal may meet the label's corner, and plotly leaves the line out


def test_the_page_offers_the_best_point_and_reads_limits_from_the_address(app: AppTest, fake: object) -> None:
    fake.automatic = False  # type: ignore[attr-defined]
    app.query_params["weight_pruning"] = "true"
    app.query_params.update({"max-size": "100000", "objective": "most accurate"})
    app.run()
    fake.finish()  # type: ignore[attr-defined]
    app.run()
    assert app.number_input(key="max-size").value == 100_000
    total = next(own.value for own in app.caption if "all measured" in own.value).split()[2]
    assert any(f"{total} of {total} points are within the limits" in own.value for own in app.caption), "one count"
    assert app.button(key="best").label == "Select the most accurate"
    app.button(key="best").click().run()
    assert app.query_params["point"]
    app.number_input(key="max-size").set_value(0.0).run()
    assert any("None of" in caption.value for caption in app.caption)
    assert not app.exception
