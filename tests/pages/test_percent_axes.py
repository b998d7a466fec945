"""No plot has a number above 100 % on its axis of accuracies, and every axis is written in the page's ink."""

from collections.abc import Callable
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from compression.experiments.results import ACCURACY as ACCURACY_KIND
from compression.search.records import SearchRecord
from compression.service import ExperimentResult, TrainingRecord, recipe_from_dict
from pages.compare.run_filters import runs_figure
from pages.explore.charts import mark_of, pareto_figure
from pages.explore.training import training_figure
from pages.search.charts import accuracy_window, front_figure
from pages.shared.axes import ACCURACY, BITS, COSTS, percent_top
from pages.shared.palette import ink
from tests.pages.test_search_charts import record as record  # a fixture of finished trials

MOST_TICKS = 10  # that plotly draws on such an axis by itself
Maker = Callable[..., ExperimentResult]


@pytest.fixture
def results(make_result: Maker) -> list[ExperimentResult]:
    """Runs of 90, 99.5 and 100 % accuracy."""
    found = []
    for sparsity, accuracy in ((0.9, 0.9), (0.5, 0.995), (0.3, 1.0)):
        step = {"technique": "weight_pruning", "sparsity": sparsity}
        own = make_result(recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "steps": [step]}))
        figures = replace(own.figures, accuracy=accuracy, accuracy_low=accuracy - 0.02, accuracy_high=accuracy)
        found.append(replace(own, figures=figures))
    return found


def top_of(figure: go.Figure) -> float:
    return figure.layout.yaxis.autorangeoptions.clipmax


@pytest.mark.parametrize("low", [0.0, 10.2, 71.1, 97.7, 99.4, 99.99, 100.0])
def test_there_is_room_above_100_percent_but_not_for_another_tick(low: float) -> None:
    top, bottom = percent_top(low), min(low, 99.0) if low == 100.0 else low  # one number alone is given an axis of 1
    assert top > 100.0
    assert top - 100.0 < (top - bottom) / MOST_TICKS


def test_the_pareto_plot_ends_there_by_the_lowest_interval(results: list[ExperimentResult]) -> None:
    marks = [mark_of(result, "sweep", "weight_pruning", "Weight pruning") for result in results]
    figure = pareto_figure(marks, COSTS["size_bytes"], ACCURACY)
    assert top_of(figure) == pytest.approx(percent_top(88.0))
    assert pareto_figure(marks, COSTS["size_bytes"], BITS).layout.yaxis.autorangeoptions.clipmax is None
    assert top_of(pareto_figure([], COSTS["size_bytes"], ACCURACY)) == percent_top(0.0)


def test_all_runs_and_trainings_end_there_too(results: list[ExperimentResult]) -> None:
    figure = runs_figure(results, {results[0].key: "A", results[2].key: "B"}, COSTS["size_bytes"])
    assert top_of(figure) == pytest.approx(percent_top(90.0))
    letters = [trace for trace in figure.data if trace.text is not None]
    places = [trace.textposition for trace in letters]
    assert not any("top" in place for place in places), "above 100 % they would be cut off"
    assert len(set(places)) == 2, "letters of two close points would lie on each other"
    history = ({"epoch": 1.0, "loss": 1.0, "accuracy": 0.9, "agreement": 1.0},)
    trained = training_figure(TrainingRecord("distillation", 4, 1.0, 1.0, history), ACCURACY_KIND)
    assert top_of(trained) == pytest.approx(percent_top(90.0))
    assert trained.layout.yaxis2.autorangeoptions.clipmax is None, "the loss has no such end"


def test_a_search_ends_there_and_is_as_wide_as_what_is_seen(record: SearchRecord) -> None:
    window = accuracy_window(record)
    assert window is not None and 100.0 < window[1] <= percent_top(window[0])
    whole = front_figure(record, "latency", whole=True)
    assert top_of(whole) > 100.0 and whole.layout.xaxis.range is None
    figure = front_figure(record, "latency")
    seen = [x for trace in figure.data for x, y in zip(trace.x, trace.y, strict=True) if y >= window[0]]
    start, end = figure.layout.xaxis.range
    assert start == 0 and max(seen) < end
    slow = record.trials[-1]
    assert slow.outcome is not None
    outlier = replace(slow, standing="infeasible", outcome=replace(slow.outcome, accuracy=0.1, speedup=0.01))
    assert front_figure(replace(record, trials=(*record.trials[:-1], outlier)), "latency").layout.xaxis.range[1] < 10


def test_axes_are_written_in_ink(results: list[ExperimentResult], record: SearchRecord) -> None:
    marks = [mark_of(result, "sweep", "weight_pruning", "Weight pruning") for result in results]
    for theme in ("light", "dark"):
        for figure in (
            pareto_figure(marks, COSTS["size_bytes"], ACCURACY, theme=theme), front_figure(record, "size", theme=theme),
            runs_figure(results, {}, COSTS["size_bytes"], theme),
        ):
            for axis in (figure.layout.xaxis, figure.layout.yaxis):
                assert axis.tickfont.color == axis.title.font.color == ink(theme)
