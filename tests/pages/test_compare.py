"""The Compare page and its tables."""

import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from compression.analysis.behaviour import Behaviour, Flips, flips
from compression.analysis.differences import ClassChange, Difference, Example
from compression.analysis.samples import Sample
from compression.analysis.weight_statistics import LayerWeights
from compression.service import ExperimentResult, recipe_from_dict
from pages.compare import runs
from pages.compare.difference_plots import change_line, class_change_table, confusion_figure, gallery, kinds_of
from pages.compare.figures_table import UNCOMPRESSED, Reference, figures_table
from pages.compare.provenance import MOST_NODES, provenance, tree_figure, tree_lines
from pages.compare.run_filters import ORDERS, RunFilter, listed, runs_figure
from pages.compare.weight_plots import histogram_figure, layer_names, layers_figure, sparsity_table, statistics_table
from pages.shared.axes import COSTS
from pages.shared.cards import cards_of
from pages.shared.comparison import against, baseline_of, layer_sizes, newest, recipe_difference, run_table
from pages.shared.pins import MOST_PINS, unique
from tests.pages.conftest import synthetic_result

BASE = {"model": "digits_resnet", "dataset": "digits"}
Maker = Callable[..., ExperimentResult]


def pruned(make_result: Maker, sparsity: float) -> ExperimentResult:
    steps = [{"technique": "weight_pruning", "sparsity": sparsity}]
    return make_result(recipe_from_dict({**BASE, "steps": steps}))


def test_only_what_differs_is_in_the_recipe_difference(make_result: Maker) -> None:
    a, b = pruned(make_result, 0.3), pruned(make_result, 0.5)
    difference = recipe_difference([a, b])
    assert list(difference.index) == ["weight_pruning.sparsity"]
    assert list(difference.iloc[0]) == ["0.3", "0.5"]
    assert "-" in list(recipe_difference([make_result(recipe_from_dict(BASE)), a]).loc["weight_pruning.sparsity"])


def test_a_pinned_baseline_does_not_make_every_default_a_difference(make_result: Maker) -> None:
    step = {"technique": "quantization", "weight_bits": 4, "activation_bits": 8}
    quantized = make_result(recipe_from_dict({**BASE, "steps": [step]}))
    difference = recipe_difference([make_result(recipe_from_dict(BASE)), quantized])
    assert difference.to_dict("index") == {
        "quantization.weight_bits": {"A": "-", "B": "4"}, "quantization.activation_bits": {"A": "-", "B": "8"},
    }


def test_figures_stand_side_by_side_with_their_changes_in_words(make_result: Maker) -> None:
    base, a, b = make_result(recipe_from_dict(BASE)), pruned(make_result, 0.3), pruned(make_result, 0.5)
    table = figures_table({"A": a, "B": b}, Reference(UNCOMPRESSED, base))
    assert list(table.columns) == ["Uncompressed", "A", "B"]
    assert table.loc["Packed size", "Uncompressed"] == "**1.00 MB**"
    size = next(card for card in cards_of(b) if card.title == "Packed size")
    assert table.loc["Packed size", "B"] == f"**{size.value}**  \n:green[{size.delta}, better]"
    assert "simulated" in table.loc["Latency", "B"] and ":green[" in table.loc["Latency", "B"]
    first = figures_table({"A": a, "B": b}, Reference("A", a))
    assert list(first.columns) == ["A", "B"]
    assert first.loc["Note", "A"] == "reference" and ":" not in first.loc["Packed size", "A"]
    larger = figures_table({"A": a, "B": b}, Reference("B", b)).loc["Packed size", "A"]
    assert larger.endswith("%, worse]") and ":red[" in larger
    assert list(figures_table({"A": base, "B": b}, Reference(UNCOMPRESSED, base)).columns) == ["A", "B"]


def test_models_share_no_axis_of_accuracies(thousand: list[ExperimentResult]) -> None:
    figure = runs_figure(thousand[:40], {thousand[1].key: "A"}, COSTS["size_bytes"])
    assert {note.text for note in figure.layout.annotations} == {"digits_resnet on digits", "digits_vit on digits"}
    axes = {}
    for trace in figure.data:
        for text in trace.hovertext:
            axes.setdefault(text.split("<br>")[0], set()).add(trace.yaxis)
    assert len(axes) == 2 and all(len(own) == 1 for own in axes.values())
    assert axes["digits_resnet on digits"] != axes["digits_vit on digits"]
    (alone,) = {trace.yaxis for trace in runs_figure(thousand[:40:2], {}, COSTS["size_bytes"]).data}
    assert alone == "y"


def test_the_reference_is_chosen_by_its_name(app: AppTest, fake: Any) -> None:
    keys = with_two(app, fake)
    app.query_params["pins"] = ",".join(keys)
    app.switch_page("compare/compare.py").run()
    assert app.selectbox(key="reference").value == UNCOMPRESSED
    app.selectbox(key="reference").set_value("B").run()
    assert app.table[0].value.loc["Note", "B"] == "reference"
    app.button(key=f"unpin-{keys[1]}").click().run()
    assert app.selectbox(key="reference").value == UNCOMPRESSED
    assert not app.exception


def test_tables_have_a_row_per_run_and_layer(make_result: Maker) -> None:
    a, b = pruned(make_result, 0.3), pruned(make_result, 0.5)
    assert list(run_table([a, b]).index) == [a.key, b.key]
    assert list(layer_sizes([a, b]).columns) == ["A", "B"]
    assert layer_sizes([a]).loc["conv1", "A"] == 600
    assert run_table([]).empty


def test_class_accuracy_and_flips_are_counted() -> None:
    targets = np.array([0, 0, 1, 1])
    before = Behaviour(np.array([0, 0, 1, 0]), targets, ("cat", "dog"))
    after = Behaviour(np.array([0, 1, 1, 1]), targets, ("cat", "dog"))
    assert before.class_accuracy() == {"cat": (1.0, 2), "dog": (0.5, 2)}
    counted = flips(before, after)
    assert (counted.lost, counted.won, counted.other, counted.total) == (1, 1, 0, 4)


def difference() -> Difference:
    examples = (
        Example("lost", Sample(image="data:image/png;base64,AA=="), "cat", "cat", "<dog>", 0.9, 0.75, 0.8),
        Example("won", Sample(before="def ", at="\n", after="x"), "dog", "cat", "dog", None, None, None),
    )
    classes = (ClassChange("dog", 10, 0.9, 0.6), ClassChange("cat", 10, 0.8, 0.9))
    return Difference(Flips(3, 1, 0, 20, 12), classes, ("cat", "dog"), ((1, -1), (3, -3)), examples, True)


def test_a_difference_is_told_in_a_table_a_heatmap_and_pictures() -> None:
    found = difference()
    table = class_change_table([("B", found)], "A")
    assert list(table.columns) == ["samples", "A %", "B %", "B change"]
    assert list(table.index) == ["dog", "cat"]
    assert table.loc["dog", "B change"] == pytest.approx(-30)
    heatmap = confusion_figure(found).data[0]
    assert [list(row) for row in heatmap.z] == [[1, 1], [-3, -3]]  # blue for the better, red for worse
    assert [list(row) for row in heatmap.text] == [["+1", "-1"], ["+3", "-3"]]
    assert "-10.00 points" in change_line(found.flips, "B", "A")
    assert "a tie" in change_line(Flips(1, 1, 0, 20, 15), "B", "A")
    assert list(kinds_of(found)) == ["lost", "won"]
    html = gallery(found.examples[:1])
    assert "&lt;dog&gt;: 75 %" in html
    assert "80 points lost" in html
    assert "<mark>\u23ce</mark>" in gallery(found.examples[1:])


def test_cards_compare_with_the_first(make_result: Maker) -> None:
    a, b = pruned(make_result, 0.3), pruned(make_result, 0.5)
    compared = against(b, a)
    assert compared.baseline.size_bytes == a.figures.size_bytes
    assert compared.baseline.latency_ms_p50 == pytest.approx(a.figures.latency_ms_p50)
    assert compared.figures.speedup == pytest.approx((b.figures.speedup or 0) / (a.figures.speedup or 1))
    low, high = compared.figures.speedup_low or 0, compared.figures.speedup_high or 0
    assert low < (compared.figures.speedup or 0) < high
    cards = {card.title: card for card in cards_of(compared, "A")}
    assert cards["Packed size"].help.startswith("A: ")
    assert "over A" in cards["Latency"].help
    assert {card.delta for card in cards_of(against(a, a), "")} == {""}
    slow = replace(compared, figures=replace(compared.figures, speedup=0.5, speedup_low=0.4, speedup_high=0.6))
    latency = next(card for card in cards_of(slow, "A") if card.title == "Latency")
    assert (latency.delta, latency.color) == ("2.00x slower", "inverse")
    base = make_result(recipe_from_dict(BASE))
    assert baseline_of([a, base, b], b) == base
    assert baseline_of([a, b], b) is None


def test_recipes_are_a_tree_of_steps(make_result: Maker) -> None:
    first = {"technique": "channel_pruning", "pruning_ratio": 0.3}
    both = make_result(recipe_from_dict({**BASE, "steps": [first, {"technique": "quantization", "weight_bits": 4}]}))
    base, other = make_result(recipe_from_dict(BASE)), pruned(make_result, 0.5)
    nodes = provenance([both], [base, other])
    assert [(node.depth, node.letter, node.result is not None) for node in nodes] == [
        (0, "", True), (1, "", False), (2, "A", True), (1, "", True)
    ]
    lines, measured, hollow = tree_figure(nodes).data
    assert list(measured.customdata) == [base.key, both.key, other.key]
    assert list(hollow.customdata) == []
    assert hollow.text[0].startswith(" Channel pruning")
    assert len(lines.x) == 4 * 3
    assert tree_lines(nodes)[1].startswith("  - Channel pruning: pruning_ratio 0.3: not measured")
    many = [pruned(make_result, step / 200) for step in range(1, 180)]
    assert len(provenance([both], many)) == MOST_NODES


def test_weights_are_drawn_per_layer_and_as_shares(make_result: Maker) -> None:
    a, b = pruned(make_result, 0.3), pruned(make_result, 0.5)
    zeros = sparsity_table([a, b])
    figure = layers_figure(zeros, "zeros", percentage=True)
    assert [trace.name for trace in figure.data] == ["A", "B"]
    assert list(figure.data[0].y) == [0.0, 10.0]
    assert figure.layout.yaxis.ticksuffix == " %"
    layer = LayerWeights("conv1", 1.0, (1, 2, 1), (0, 4, 0), 4, 1.0, 1)
    statistics = {"A": (layer,), "B": (LayerWeights("conv1", 1.0, (1, 2, 1), (0, 0, 0), 0, 0.0, 0),)}
    assert layer_names(statistics) == ["conv1"]
    drawn = histogram_figure(statistics, "conv1")
    assert [trace.name for trace in drawn.data] == ["uncompressed", "A", "B"]
    assert list(drawn.data[0].y) == [25, 50, 25]
    assert list(drawn.data[1].y) == [None, 100, None]
    table = statistics_table(statistics, "conv1")
    assert list(table["made of"]) == ["itself", "gone"]


@pytest.fixture(scope="module")
def thousand() -> list[ExperimentResult]:
    results = []
    for number in range(1000):
        model = ("digits_resnet", "digits_vit")[number % 2]
        step = {"technique": "weight_pruning", "sparsity": round(0.0009 * number, 4)}
        if number % 3 == 0:
            step = {"technique": "quantization", "weight_bits": 2 + number % 7}
        recipe = recipe_from_dict({"model": model, "dataset": "digits", "seed": number, "steps": [step]})
        results.append(replace(synthetic_result(recipe), created=f"2026-01-01T{number:06}"))
    return results


def test_a_thousand_runs_are_filtered_sorted_and_drawn_fast(thousand: list[ExperimentResult]) -> None:
    begin = time.process_time()
    condition = RunFilter(
        models=["digits_vit"], techniques=["weight_pruning"], text="PRUNING vit", least={"accuracy": 50.0},
        most={"size": 900.0, "latency": 0.9},
    )
    shown = listed(thousand, condition, "accuracy, highest first")
    assert 0 < len(shown) < 500
    for result in shown:
        assert (result.recipe["model"], result.recipe["steps"][0]["technique"]) == ("digits_vit", "weight_pruning")
        assert result.figures.accuracy >= 0.5
        assert result.figures.size_bytes <= 900_000
    accuracies = [result.figures.accuracy for result in shown]
    assert accuracies == sorted(accuracies, reverse=True)
    assert len(run_table(listed(thousand, RunFilter(), "newest first"))) == 1000
    figure = runs_figure(thousand, {thousand[7].key: "A"}, COSTS["size_bytes"])
    assert sum(len(trace.x) for trace in figure.data) == 1001
    assert [list(trace.text) for trace in figure.data if trace.text] == [["<b>A</b>"]]
    assert time.process_time() - begin < 1.5


def test_every_order_lists_every_run(thousand: list[ExperimentResult]) -> None:
    few = [*thousand[:20], replace(thousand[20], figures=replace(thousand[20].figures, latency_ms_p50=None))]
    for order in ORDERS:
        assert len(listed(few, RunFilter(), order)) == 21
    assert listed(few, RunFilter(), "newest first")[0] == few[-1]
    assert few[-1] not in listed(few, RunFilter(most={"latency": 1e9}), "newest first")


def test_pins_are_few_and_each_once() -> None:
    assert unique(["a", "", "b", "a", "c", "d", "e"]) == ["a", "b", "c", "d"]
    assert len(unique(map(str, range(9)))) == MOST_PINS


def test_an_empty_store_invites(app: AppTest, fake: Any) -> None:
    app.switch_page("compare/compare.py").run()
    assert any("Explore" in info.value for info in app.info)
    assert not app.exception


def with_two(app: AppTest, fake: Any) -> list[str]:
    """Explore's first look measured, and the keys of two of its points."""
    app.run()
    fake.finish()
    return [key for key in fake.states if fake.result(key) is not None][:2]


def test_pinned_runs_stand_side_by_side(app: AppTest, fake: Any) -> None:
    keys = with_two(app, fake)
    app.query_params["pins"] = ",".join([*keys, "unknown"])
    app.switch_page("compare/compare.py").run()
    assert not app.exception
    assert any("unknown" in own.value for own in app.warning)
    assert list(app.table[0].value.columns) == ["A", "B"]
    assert any("Where the recipes differ" in m.value for m in app.markdown)
    job = fake.comparisons.difference_job(*keys)
    assert fake.states[job] == "running"
    fake.comparisons.differences[(keys[0], keys[1])] = difference()
    app.run()
    assert not app.exception
    assert any("3 were lost, 1 won" in m.value for m in app.markdown)
    app.button(key=f"unpin-{keys[1]}").click().run()
    assert app.query_params["pins"] == keys[0]
    assert list(app.table[0].value.columns)[-1] == "A"


def test_a_point_pinned_on_explore_is_still_pinned_on_compare(app: AppTest, fake: Any) -> None:
    with_two(app, fake)
    app.run()
    app.button(key="pin-this").click().run()
    assert not app.exception
    key = app.query_params["pins"]
    assert app.button(key="pin-this").label == "Unpin"
    del app.query_params["pins"]
    app.switch_page("compare/compare.py").run()
    assert not app.exception
    assert app.query_params["pins"] == key
    assert list(app.table[0].value.columns)[-1] == "A"


def test_a_run_is_pinned_by_its_picker(app: AppTest, fake: Any) -> None:
    first, second = with_two(app, fake)
    app.query_params["pins"] = first
    app.switch_page("compare/compare.py").run()
    picker = app.selectbox(key="pin-one")
    assert picker.value is None
    assert len(picker.options) == len(newest(fake.results())) - 1, "one is pinned already"
    picker.select(second).run()
    assert not app.exception
    assert app.query_params["pins"] == f"{first},{second}"
    assert app.selectbox(key="pin-one").value is None, "ready for another one"
    assert list(app.table[0].value.columns)[-2:] == ["A", "B"]


def test_weights_and_provenance_are_views_of_the_address(app: AppTest, fake: Any) -> None:
    keys = with_two(app, fake)
    app.query_params["pins"] = ",".join(keys)
    app.query_params["view"] = "Weights"
    app.switch_page("compare/compare.py").run()
    assert not app.exception
    assert [fake.states[fake.comparisons.weights_job(key)] for key in keys] == ["running", "running"]
    for key in keys:
        fake.comparisons.counted[key] = (LayerWeights("conv1", 1.0, (1, 2, 1), (0, 4, 0), 4, 1.0, 1),)
    app.run()
    assert not app.exception
    assert app.selectbox(key="weights-of").value == "conv1"
    app.query_params["view"] = "Provenance"
    app.session_state["view"] = "Provenance"
    app.run()
    assert not app.exception
    assert any("**A** " in own.value and "**B** " in own.value for own in app.markdown)


@pytest.mark.parametrize(("key", "chosen", "wanted"), [
    ("outdated", [0, 1], None), ("current", [0], None), ("current", [0, 1], ["a", "b"]), ("current", [], []),
])
def test_a_table_that_reports_what_it_was_made_with_unpins_nothing(
    monkeypatch: pytest.MonkeyPatch, key: str, chosen: list[int], wanted: list[str] | None
) -> None:
    current = runs._key(["a", "b"]) if key == "current" else "runs-of-before"
    report = SimpleNamespace(selection=SimpleNamespace(rows=chosen))
    state: dict[str, Any] = {current: report, runs._KNOWN: ["a"]}
    taken: list[list[str]] = []
    monkeypatch.setattr(runs, "st", SimpleNamespace(session_state=state, toast=None))
    monkeypatch.setattr(runs, "pins", lambda: ["a"])
    monkeypatch.setattr(runs, "set_pins", lambda keys: taken.append(list(keys)))
    runs._take_rows(current, ["a", "b"])
    assert taken == ([] if wanted is None else [wanted])
