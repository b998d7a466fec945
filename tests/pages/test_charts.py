"""Figures read as data."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from compression.experiments.pairing import Correct, Scores
from compression.service import ExperimentResult, Recipe, recipe_from_dict
from pages.explore.charts import Mark, described, frontier_ids, hover_text, mark_of, pareto_figure
from pages.explore.details import mark_table
from pages.shared.axes import ACCURACY, COSTS
from pages.shared.palette import technique_color

SIZE, LATENCY = COSTS["size_bytes"], COSTS["latency_ms_p50"]


def recipe(*sparsities: float) -> Recipe:
    steps = [{"technique": "weight_pruning", "sparsity": s} for s in sparsities]
    return recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "steps": steps})


@pytest.fixture
def marks(make_result: Callable[..., ExperimentResult]) -> list[Mark]:
    sweep = [make_result(recipe(s)) for s in (0.3, 0.5, 0.9)]
    base = make_result(recipe())
    return [
        *(mark_of(r, "sweep", "weight_pruning", "Weight pruning") for r in sweep),
        mark_of(sweep[1], "current"), mark_of(base, "baseline"),
    ]


def trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(t for t in figure.data if t.name == name)


def test_a_curve_carries_values_ids_and_error_bars_in_both_directions(marks: list[Mark]) -> None:
    curve = trace(pareto_figure(marks, LATENCY, ACCURACY), "Weight pruning")
    own = [m.figures for m in marks if m.kind == "sweep"]
    assert list(curve.x) == [f.latency_ms_p50 for f in own]
    assert list(curve.y) == [100 * f.accuracy for f in own]
    assert [c[0] for c in curve.customdata] == [m.id for m in marks if m.kind == "sweep"]
    assert curve.error_x.array[0] == pytest.approx(own[0].latency_high - own[0].latency_ms_p50)
    assert curve.error_y.arrayminus[0] == pytest.approx(100 * (own[0].accuracy - own[0].accuracy_low))
    assert curve.line.color == technique_color("weight_pruning")


def test_the_baseline_is_a_star_and_the_current_recipe_stands_out(marks: list[Mark]) -> None:
    figure = pareto_figure(marks, SIZE, ACCURACY)
    assert trace(figure, "Uncompressed (fp32)").marker.symbol == "star"
    assert list(trace(figure, "Current recipe").x) == [marks[1].figures.size_bytes / 1000]


def test_selection_rings_the_same_artifact_in_both_plots(marks: list[Mark]) -> None:
    for axis in (SIZE, LATENCY):
        ring = trace(pareto_figure(marks, axis, ACCURACY, selected=marks[2].id), "Selected")
        assert list(ring.y) == [100 * marks[2].figures.accuracy]
    assert all(t.name != "Selected" for t in pareto_figure(marks, SIZE, ACCURACY).data)


def test_points_not_timed_yet_are_left_out_of_the_latency_plot_only(marks: list[Mark]) -> None:
    untimed = replace(marks[0], id="untimed", figures=replace(marks[0].figures, latency_ms_p50=None))
    assert len(trace(pareto_figure([untimed, *marks[1:]], LATENCY, ACCURACY), "Weight pruning").x) == 2
    assert len(trace(pareto_figure([untimed, *marks[1:]], SIZE, ACCURACY), "Weight pruning").x) == 3


def test_a_beaten_point_is_off_the_frontier_and_ties_stay(marks: list[Mark]) -> None:
    base = marks[-1]
    beaten = replace(base, id="beaten", kind="sweep", figures=replace(base.figures, size_bytes=2_000_000))
    tied = replace(base, id="tied", figures=replace(base.figures, latency_ms_p50=1.001, accuracy=0.986))
    front = frontier_ids([*marks, beaten], SIZE, ACCURACY)
    assert "beaten" not in front
    assert base.id in front
    assert set(frontier_ids([base, tied], LATENCY, ACCURACY)) == {"tied", base.id}


def test_hover_shows_the_whole_recipe_and_escapes_markup(marks: list[Mark]) -> None:
    text = hover_text(marks[0], SIZE, ACCURACY)
    assert "sparsity 0.3" in text
    assert "scope" in text
    assert "(" in text.split("<br>")[1]
    assert "<script>" not in hover_text(replace(marks[0], recipe=("<script>",)), SIZE, ACCURACY)


def test_logarithmic_axis(marks: list[Mark]) -> None:
    assert pareto_figure(marks, SIZE, ACCURACY, log_x=True).layout.xaxis.type == "log"


def test_the_table_has_every_plotted_point(marks: list[Mark]) -> None:
    table = mark_table(marks, [marks[0].id])
    assert len(table) == len(marks)
    assert list(table["on the frontier"]) == [True, False, False, False, False]


def test_no_two_techniques_share_a_color() -> None:
    keys = ["weight_pruning", "channel_pruning", "quantization", "low_rank", "weight_sharing", "block_sharing",
            "binarization", "distillation", "recovery"]
    for theme in ("light", "dark"):
        assert len({technique_color(k, theme) for k in keys}) == len(keys)


def test_the_frontier_tells_accuracies_apart_by_pairs(marks: list[Mark]) -> None:
    """Intervals of 2 points overlap; of 1,000 samples the second got 30 right that the first did not, and lost none."""
    right = np.arange(1000) < 900
    better = right | (np.arange(1000) >= 970)
    dear, cheap = (
        replace(
            marks[0], id=name, figures=replace(
                marks[0].figures, accuracy=own.mean(), accuracy_low=own.mean() - 0.02, accuracy_high=own.mean() + 0.02,
                size_bytes=10_000,
            ), scores=Scores(Correct("all", own), Correct("few", own[:50])),
        )
        for name, own in (("dear", right), ("cheap", better))
    )
    assert frontier_ids([dear, cheap], SIZE, ACCURACY) == ["cheap"]
    unpaired = [replace(mark, scores=None) for mark in (dear, cheap)]
    assert sorted(frontier_ids(unpaired, SIZE, ACCURACY)) == ["cheap", "dear"]
    coarse = replace(cheap, scores=Scores(None, Correct("few", better[:50])))
    assert sorted(frontier_ids([dear, coarse], SIZE, ACCURACY)) == ["cheap", "dear"], "the same on the samples of both"


def test_latencies_are_told_apart_by_their_speed_ups(marks: list[Mark]) -> None:
    """The interval of the baseline's pooled median is that of all points: a clear speed-up stays one beside it."""
    base = replace(marks[-1].figures, latency_low=0.5, latency_high=1.5)
    faster = replace(base, latency_ms_p50=0.8, latency_low=0.79, latency_high=0.81, speedup=1.25, speedup_low=1.24,
                     speedup_high=1.26)
    points = [replace(marks[-1], figures=base), replace(marks[0], figures=faster)]
    assert frontier_ids(points, LATENCY, ACCURACY) == [marks[0].id]


def test_axes_without_a_point_have_titles_but_no_numbers(marks: list[Mark]) -> None:
    empty, full = pareto_figure([], LATENCY, ACCURACY), pareto_figure(marks, LATENCY, ACCURACY)
    assert empty.layout.xaxis.title.text == full.layout.xaxis.title.text
    for axis in ("xaxis", "yaxis"):
        assert empty.layout[axis].showticklabels is False
        assert full.layout[axis].showticklabels is None


def test_a_plot_of_a_thousand_points_is_made_at_once_and_drawn_on_a_canvas(marks: list[Mark]) -> None:
    many = [
        replace(
            marks[0], id=str(i), series=f"technique {i % 9}",
            figures=replace(marks[0].figures, size_bytes=1000 + 37 * i % 991, accuracy=0.5 + i % 101 / 250),
        )
        for i in range(1000)
    ]
    started = time.process_time()
    figure = pareto_figure([*many, marks[-1]], SIZE, ACCURACY, bounds=(1.5, 60.0), inside={m.id for m in many[:500]})
    assert time.process_time() - started < 1.0
    assert sum(len(t.x) for t in figure.data if t.type == "scattergl") == 1000
    assert {t.type for t in pareto_figure(marks, SIZE, ACCURACY).data} == {"scatter"}


def test_curves_for_comparison_are_dotted_and_redraws_keep_zoom_and_legend(marks: list[Mark]) -> None:
    figure = pareto_figure(marks, SIZE, ACCURACY, asides={"weight_pruning"})
    assert trace(figure, "Weight pruning").line.dash == "dot"
    assert trace(figure, "Weight pruning").uid == "Weight pruning"
    again = pareto_figure(marks[1:], SIZE, ACCURACY)
    assert again.layout.uirevision == figure.layout.uirevision
    assert pareto_figure(marks, LATENCY, ACCURACY).layout.uirevision != figure.layout.uirevision
    assert again.layout.legend.uirevision == figure.layout.legend.uirevision


def test_a_plot_is_described_in_words(marks: list[Mark]) -> None:
    text = described(marks, SIZE, ACCURACY, {marks[0].id})
    assert text.startswith("Accuracy against Packed size: 4 points (Weight pruning); ")
    assert "1 within the limits" in text
    assert "kB" in text
    assert described([], SIZE, ACCURACY) == "Accuracy against Packed size: no point yet"
