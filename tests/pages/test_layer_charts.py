"""Figures of the Layers page, and recipes that name layers, read as data."""

import math
from typing import Any

import pytest

from compression.analysis.distribution import Distribution, Values
from compression.service import (
    InputError,
    LayerRecord,
    Recipe,
    Sensitivity,
    SensitivityMap,
    list_techniques,
    recipe_from_dict,
)
from pages.layers.charts import REST, ROOT, distribution_figure, sensitivity_figure, share_figure
from pages.layers.recipe import (
    layer_settings,
    named_layers,
    protected,
    read_recipe_text,
    recipe_text,
    with_override,
    without_layer,
    without_name,
    without_override,
)
from pages.layers.sensitivity_scale import color_range, ranked

ROWS = tuple(
    Sensitivity(fqn, "quantization", "weight_bits", bits, error, 0.02, 300, 5000)
    for fqn, bits, error in (("a", 8, 0.0), ("a", 2, 0.5), ("b", 2, 0.01))
)
BITS = SensitivityMap("quantization", ("a", "b", "c"), (8, 2), ROWS, {"c": "too small"})
RANKS = SensitivityMap("low_rank", (), (0.5,), (), {})
PREDICTED = SensitivityMap("quantization", ("a", "b"), (8, 2), ROWS[:1], {}, ROWS[1:], has_prediction=True)
LAYERS = (
    LayerRecord("stem", "Conv2d", (4, 1, 3, 3), 100, 3600, 0.0, "float32", "float32"),
    LayerRecord("block.0.conv", "Conv2d", (8, 4, 3, 3), 500, 28_800, 0.0, "float32", "float32"),
    LayerRecord("block.1.conv", "Conv2d", (8, 8, 3, 3), 300, 57_600, 0.5, "4-bit grid", "float32"),
)
TECHNIQUES = list_techniques()


def recipe(*steps: dict[str, Any]) -> Recipe:
    return recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "steps": list(steps)})


PRUNING = recipe({"technique": "weight_pruning", "sparsity": 0.6})


def test_the_map_has_a_row_per_layer_and_a_column_per_strength() -> None:
    figure = sensitivity_figure([BITS, RANKS], (), selected="b")
    cells, points, gaps, blanks = figure.data
    shown = [[None if value is None else round(value, 3) for value in row] for row in cells.z]
    assert shown == [[-6, round(math.log10(0.5), 3), None], [None, -2, None], [None, None, None]]
    assert list(figure.layout.xaxis.ticktext) == ["8", "2", "0.5"]
    assert list(figure.layout.yaxis.ticktext) == ["a", "b", "c"]
    assert list(points.customdata) == ["a", "a", "b"]
    assert list(gaps.customdata) == ["c", "c"] and "too small" in gaps.text[0]
    assert sorted(blanks.customdata) == ["a", "b", "b", "c"], "any cell can be clicked"
    assert figure.layout.hoverdistance == -1, "anywhere in it"
    under, frame = (shape for shape in figure.layout.shapes if shape.type == "rect")
    assert (frame.y0, frame.y1) == (under.y0, under.y1) == (0.5, 1.5)
    assert under.line.width > frame.line.width and under.line.color != frame.line.color, "seen on dark cells too"
    assert "-2.0 points" in points.text[0]


def test_colours_span_what_is_there() -> None:
    errors = [10.0, *(0.001 * 1.05**n for n in range(98)), 1e-9]
    rows = tuple(Sensitivity(f"l{n}", "quantization", "weight_bits", 4, e, 0.0, 1, 1) for n, e in enumerate(errors))
    own = SensitivityMap("quantization", tuple(row.fqn for row in rows), (4,), rows, {})
    low, high = color_range([own])
    assert 0.0010 < 10**low < 0.0015 and 0.08 < 10**high < 0.12, "one cell of 10 nats does not flatten the others"
    axis = sensitivity_figure([own], ()).layout.coloraxis
    assert (axis.cmin, axis.cmax) == (low, high)
    assert list(axis.colorbar.ticktext)[1:-1] == ["0.01"]
    same = SensitivityMap("quantization", ("a",), (8,), ROWS[1:2], {})
    assert color_range([same]) == pytest.approx((math.log10(0.5) - 0.25, math.log10(0.5) + 0.25))
    assert color_range([RANKS]) == (-3.0, 0.0)


def test_layers_are_ranked_and_knobs_named_with_their_units() -> None:
    assert ranked([BITS]) == ["b", "a"], "0.01 against the geometric mean of 0.5 and 1e-6"
    figure = sensitivity_figure([BITS, RANKS], (), by_rank=True)
    assert list(figure.layout.yaxis.ticktext) == ["b", "a", "c"]
    texts = [note.text for note in figure.layout.annotations]
    assert texts == ["Quantization", "Weight bits", "Low-rank<br>factorization", "Rank ratio (fraction)"]
    assert "Weight bits: 8" in figure.data[1].text[0]


def test_a_map_that_has_not_been_begun_shows_the_models_layers() -> None:
    figure = sensitivity_figure([RANKS], ["x", "y"])
    assert list(figure.layout.yaxis.ticktext) == ["x", "y"]
    assert [list(row) for row in figure.data[0].z] == [[None], [None]]


@pytest.mark.parametrize(("quantity", "total", "largest"), [("bytes", 1000, 500), ("MACs", 90_000, 57_600)])
def test_shares_add_up_to_the_whole(quantity: str, total: int, largest: int) -> None:
    tiles = share_figure(LAYERS, total, quantity).data[0]
    values = dict(zip(tiles.ids, tiles.values, strict=True))
    parents = dict(zip(tiles.ids, tiles.parents, strict=True))
    assert values[ROOT] == total and max(values[layer.fqn] for layer in LAYERS) == largest
    assert parents["block.1.conv"] == "block.1" and parents["block"] == ROOT == parents[REST]
    for place in (ROOT, "block", "block.0"):
        assert values[place] == sum(value for own, value in values.items() if parents[own] == place)


def test_a_chosen_layer_is_framed() -> None:
    tiles = share_figure(LAYERS, 1000, "weights", "stem").data[0]
    widths = dict(zip(tiles.ids, tiles.marker.line.width, strict=True))
    assert widths["stem"] == 3 and set(widths.values()) == {1, 3}


def test_histograms_share_bins_and_leave_out_what_is_gone() -> None:
    values = Values(4, 0.5, 3, 0.0, 2.0, 1.0, 1.0, (3, 1))
    after, before = distribution_figure(Distribution((0.0, 1.0, 2.0), values, values), "low_rank", "Weights").data
    assert list(after.x) == list(before.x) == [0.5, 1.5] and list(after.y) == [3, 1]
    gone = distribution_figure(Distribution((0.0, 1.0, 2.0), values, None), "low_rank", "Weights")
    assert [trace.name for trace in gone.data] == ["before"]


def test_recipes_go_through_the_address() -> None:
    own = recipe(
        {"technique": "weight_pruning", "sparsity": 0.7, "layers": {"exclude": ["conv1"]}},
        {"technique": "quantization", "weight_bits": 4, "overrides": {"linear": {"weight_bits": 8}}},
    )
    assert read_recipe_text(recipe_text(own)) == own
    assert "granularity" not in recipe_text(own)
    for wrong in ("{", "[]", '{"model": 3}'):
        with pytest.raises(InputError):
            read_recipe_text(wrong)


def test_an_override_holds_what_differs_from_the_step() -> None:
    changed = with_override(PRUNING, "weight_pruning", "conv1", {"sparsity": 0.2, "criterion": "sparsegpt"}, TECHNIQUES)
    assert dict(changed.steps[0].overrides) == {"conv1": {"sparsity": 0.2}}
    setting = layer_settings(changed, "conv1")[0]
    assert setting.own and setting.knobs["sparsity"] == 0.2 and not layer_settings(changed, "linear")[0].own
    assert without_override(changed, "weight_pruning", "conv1") == PRUNING == without_layer(changed, "conv1")
    same = with_override(changed, "weight_pruning", "conv1", {"sparsity": 0.6}, TECHNIQUES)
    assert same == PRUNING
    with pytest.raises(InputError, match="sparsity"):
        with_override(PRUNING, "weight_pruning", "conv1", {"sparsity": 2.0}, TECHNIQUES)


def test_a_pattern_stays_where_one_layer_of_it_is_set_back() -> None:
    own = recipe({"technique": "weight_pruning", "sparsity": 0.6, "overrides": {"layer1": {"sparsity": 0.9}}})
    back = with_override(own, "weight_pruning", "layer1.0", {"sparsity": 0.6}, TECHNIQUES)
    assert layer_settings(back, "layer1.0")[0].knobs["sparsity"] == 0.6
    assert layer_settings(back, "layer1.1")[0].knobs["sparsity"] == 0.9


def test_a_technique_that_is_not_in_the_recipe_comes_for_one_layer() -> None:
    own = with_override(PRUNING, "quantization", "linear", {"weight_bits": 4}, TECHNIQUES)
    assert [(step.technique, step.include) for step in own.steps] == [
        ("weight_pruning", ()), ("quantization", ("linear",))
    ]
    assert "not among" in layer_settings(own, "conv1")[1].outside
    joined = with_override(own, "quantization", "conv1", {"weight_bits": 8}, TECHNIQUES)
    assert joined.steps[1].include == ("linear", "conv1")
    assert without_layer(own, "linear") == PRUNING == without_name(own, "quantization", "linear")


def test_protection_takes_the_place_of_an_override_and_back() -> None:
    own = with_override(PRUNING, "weight_pruning", "conv1", {"sparsity": 0.2}, TECHNIQUES)
    kept = protected(own, "weight_pruning", "conv1", True)
    assert kept.steps[0].exclude == ("conv1",) and not kept.steps[0].overrides
    assert named_layers(kept) == [("weight_pruning", "conv1", "protected")]
    assert protected(kept, "weight_pruning", "conv1", False) == PRUNING
    pattern = recipe({"technique": "weight_pruning", "layers": {"exclude": ["layer1"]}})
    assert "pattern layer1" in layer_settings(pattern, "layer1.0")[0].outside


def test_predicted_cells_are_on_the_map_and_say_that_they_are_estimated() -> None:
    figure = sensitivity_figure([PREDICTED], ())
    measured = next(trace for trace in figure.data if trace.name == "cells")
    estimated = next(trace for trace in figure.data if trace.name == "estimated")
    assert list(measured.customdata) == ["a"] and "measured" in measured.text[0]
    assert list(estimated.customdata) == ["a", "b"]
    assert all("estimated (Fisher information" in text for text in estimated.text)
    assert round(figure.data[0].z[1][1], 3) == -2, "coloured as a measured cell would be"
    assert ranked([PREDICTED]) == ["b", "a"]
