"""All words for what models are compared by come from their task; a difference of zero is no change."""

import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from compression.cli.search import report
from compression.problems import ACCURACY, R2
from compression.recipe import recipe_to_dict
from compression.search import reach, spec
from compression.search.outcomes import appraise
from compression.search.records import SearchRecord, TrialRecord
from compression.search.spec import Limits, SearchSpec
from compression.service import ExperimentResult, Recipe, Sensitivity, SensitivityMap, recipe_from_dict
from pages.compare.figures_table import change_text
from pages.compare.run_filters import runs_figure
from pages.explore.training import training_figure
from pages.layers.charts import sensitivity_figure
from pages.search.charts import front_figure
from pages.search.words import asked, front_table, spent, trial_table
from pages.shared.axes import COSTS
from pages.shared.cards import cards_of
from tests.pages.test_training import RECORD
from tests.search.laboratories import BASELINE, made_up, synthetic_result

Maker = Callable[[Recipe], ExperimentResult]
WORDS = re.compile("accuracy|point", re.IGNORECASE)
PARTS = {
    "model": "digits_resnet", "dataset": "digits", "steps": [{"technique": "quantization", "weight_bits": 4}]
}


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> SearchRecord:
    """A search with one trial of a model that predicts values."""
    monkeypatch.setattr(spec.registry, "model_info", lambda name: SimpleNamespace(task="regression"))
    recipe = recipe_from_dict(PARTS)
    outcome = replace(made_up(recipe), key="k")
    asked_for = SearchSpec("values", "values", ("quantization",), Limits(max_accuracy_drop=2.0), trials=20)
    judged = appraise(BASELINE, ((1, outcome),), asked_for.limits)
    trial = TrialRecord(1, "k", "plan", recipe_to_dict(recipe), "done", outcome, judged.standings[1], estimate=1.5)
    return SearchRecord("name", asked_for, "running", "", "", 60.0, BASELINE, (trial,), volumes=judged.volumes)


def of_values(result: ExperimentResult) -> ExperimentResult:
    def changed(figures: Any) -> Any:
        return replace(
            figures, quality="r2", mean_absolute_error=0.25, mean_absolute_error_low=0.2, mean_absolute_error_high=0.3
        )

    return replace(result, figures=changed(result.figures), baseline=changed(result.baseline), task="regression")


def test_a_loss_is_named_in_its_unit() -> None:
    assert (ACCURACY.lost_text(1.0), ACCURACY.lost_text(2.5)) == ("1 point lost", "2.5 points lost")
    assert (R2.lost_text(1.0), R2.lost_text(2.5)) == ("0.01 R2 lost", "0.025 R2 lost")
    assert (ACCURACY.lost_heading, R2.lost_heading) == ("points lost", "R2 lost")
    assert (ACCURACY.ends(0.976, 0.989), R2.ends(0.5, 0.75)) == ("97.60 to 98.90", "0.5000 to 0.7500")


def test_a_search_of_a_regression_speaks_of_r2(search: SearchRecord) -> None:
    assert asked(search.spec) == "at most 0.02 R2 lost; 20 trials"
    result = of_values(synthetic_result(recipe_from_dict(PARTS)))
    (row,) = trial_table(search, {"k": result}).to_dict("records")
    front = front_table(search, {"k": result})
    lost = 0.2 / 16
    assert row["R2 lost"] == pytest.approx(lost) and row["estimated R2 lost"] == pytest.approx(0.015)
    assert row["validation R2"] == pytest.approx(1 - lost) and row["test R2"] == result.figures.accuracy
    assert not [name for name in (*row, *front.columns) if WORDS.search(name)]
    figure = front_figure(search, "size", results={"k": result})
    assert figure.layout.yaxis.title.text == "Validation R2, higher is better"
    (drawn,) = [trace for trace in figure.data if trace.customdata]
    assert drawn.y == pytest.approx((1 - lost,)) and not WORDS.search(drawn.hovertext[0])
    assert f"R2 lost there: {lost:.4f}" in drawn.hovertext[0].replace("r2", "R2")
    assert [shape.y0 for shape in figure.layout.shapes if shape.type == "line"] == [pytest.approx(0.98)]
    (compared,) = reach.checked(search.estimates, R2)
    assert "0.002 R2 above" in compared or "0.003 R2 above" in compared


def test_json_of_a_search_has_the_name_of_the_quality(search: SearchRecord) -> None:
    result = of_values(synthetic_result(recipe_from_dict(PARTS)))
    service = SimpleNamespace(
        result=lambda key: result, known_results=lambda keys: {"k": result},
        promises=SimpleNamespace(data=lambda model, dataset: {}),
    )
    found = report(service, search)  # type: ignore[arg-type]
    names = {*found["trials"][0], *found["front"][0]}
    assert {"selection_r2", "selection_r2_drop", "test_r2", "estimated_r2_drop", "r2"} <= names
    assert not [name for name in names if "accuracy" in name]
    assert found["front"][0]["selection_r2_drop"] == pytest.approx(0.2 / 16)


def test_curves_maps_and_runs_of_a_regression_are_drawn_in_r2(make_result: Maker) -> None:
    figure = training_figure(RECORD, R2)
    assert [trace.name for trace in figure.data][:1] == ["R2"] and list(figure.data[0].y) == [0.5, 0.9, 0.8]
    assert figure.layout.yaxis.title.text == "Held-out training samples"
    row = Sensitivity("a", "quantization", "weight_bits", 8, 0.1, 0.02, 300, 5000)
    own = SensitivityMap("quantization", ("a",), (8,), (row,), {})
    cells = sensitivity_figure([own], (), unit="of the outputs' variance", quality=R2).to_json()
    assert "R2: -0.020 R2" in cells and "nats" not in cells and "points" not in cells
    runs = runs_figure([of_values(make_result(recipe_from_dict(PARTS)))], {}, COSTS["size_bytes"])
    assert runs.layout.yaxis.title.text == "R2, higher is better" and max(runs.data[0].y) <= 1.0


def test_a_difference_of_zero_has_no_colour(make_result: Maker) -> None:
    result = make_result(recipe_from_dict(PARTS))
    figures = replace(result.figures, bits_per_character=2.0004, accuracy=result.baseline.accuracy)
    base = replace(result.baseline, bits_per_character=2.0)
    cards = {card.title: card for card in cards_of(replace(result, figures=figures, baseline=base))}
    bits = cards["Bits per character"]
    assert (bits.delta, bits.color, change_text(bits)) == ("0.000", "off", ":gray[0.000]")
    worse = replace(result, figures=replace(figures, bits_per_character=2.1), baseline=base)
    bits = {card.title: card for card in cards_of(worse)}["Bits per character"]
    assert (bits.delta, bits.color) == ("+0.100", "inverse")
    assert cards["Packed size"].color == "inverse" and cards["Packed size"].delta.startswith("-")


def test_the_bar_of_a_search_shows_the_number_beside_it(search: SearchRecord) -> None:
    assert (spent(search), search.fraction) == ("1 of 20 trials", 0.05)
    timed = replace(search, spec=replace(search.spec, trials=None, minutes=5.0))
    assert (spent(timed), timed.fraction) == ("1 trial, 1 min 0 s of 5 min", 0.2)
