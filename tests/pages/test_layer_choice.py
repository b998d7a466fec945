"""The pickers of the Layers page: what is chosen outlives a redraw with what the browser said before."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from compression.service import Recipe
from pages.layers.recipe import recipe_text
from pages.shared.formats import told_apart
from pages.shared.url import choice
from tests.pages.test_layers import PRUNED, extras, in_view, layers_page, looked, measured, recipe

__all__ = ["extras"]
OTHER = {**PRUNED, "sparsity": 0.3}


@pytest.fixture
def page(app: AppTest, fake: Any, extras: Any, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page with two measured recipes of one model, and a browser that is slow to learn of anything."""
    monkeypatch.setattr(choice, "LATE_SECONDS", 1000)
    measured(fake, recipe(), recipe(PRUNED), recipe(OTHER), Recipe("digits_vit", "digits"))
    return layers_page(app, recipe(PRUNED), layer="linear")


def say_again(page: AppTest, **address: str) -> AppTest:
    """A redraw with another address."""
    for name, value in address.items():
        page.query_params[name] = value
    return looked(page.run())


def test_a_picked_recipe_stays_until_a_link_names_another(page: AppTest) -> None:
    picker = page.selectbox(key="layer-recipe")
    looked(picker.set_value(recipe_text(recipe(OTHER))).run())
    assert in_view(page) == recipe(OTHER)
    assert in_view(say_again(page, recipe=recipe_text(recipe(PRUNED)))) == recipe(OTHER), "the older address is no news"
    assert page.selectbox(key="layer-recipe").value == recipe_text(recipe(OTHER))
    looked(page.selectbox(key="layer-recipe").set_value(recipe_text(recipe(PRUNED))).run())
    assert in_view(page) == recipe(PRUNED), "a person may take a choice back at once"
    assert in_view(say_again(page, recipe=recipe_text(recipe()))) == recipe()
    assert page.selectbox(key="layer-recipe").value == recipe_text(recipe())
    assert page.selectbox(key="layer-choice").value == "linear"


def test_a_picked_model_stays_and_has_no_layer_of_the_one_before(page: AppTest) -> None:
    looked(page.selectbox(key="layer-model").set_value("digits_vit").run())
    assert in_view(page) == Recipe("digits_vit", "digits") and "layer" not in page.query_params
    say_again(page, recipe=recipe_text(recipe(PRUNED)), layer="linear")
    assert in_view(page) == Recipe("digits_vit", "digits") and "layer" not in page.query_params
    assert page.selectbox(key="layer-model").value == "digits_vit" and page.selectbox(key="layer-choice").value is None
    say_again(page, recipe=recipe_text(recipe(OTHER)), layer="conv1")
    assert in_view(page) == recipe(OTHER) and page.selectbox(key="layer-choice").value == "conv1"


def test_a_picked_layer_stays_and_can_be_put_away(page: AppTest) -> None:
    assert page.selectbox(key="layer-choice").value == "linear"
    looked(page.selectbox(key="layer-choice").set_value("conv1").run())
    assert say_again(page, layer="linear").selectbox(key="layer-choice").value == "conv1"
    looked(page.selectbox(key="layer-choice").set_value(None).run())
    assert "layer" not in page.query_params
    assert say_again(page, layer="conv1").selectbox(key="layer-choice").value is None
    assert "layer" not in page.query_params


def test_what_a_button_sets_is_not_lost_to_an_older_address(page: AppTest) -> None:
    page.button(key="change-0").click()
    say_again(page, recipe=recipe_text(recipe(PRUNED)))
    protected = recipe({**PRUNED, "layers": {"exclude": ["linear"]}})
    assert in_view(page) == protected
    assert in_view(say_again(page, recipe=recipe_text(recipe(PRUNED)))) == protected


def test_a_wrong_address_is_said_until_something_is_chosen(page: AppTest) -> None:
    for _ in range(2):
        assert any("nowhere" in own.value for own in say_again(page, layer="nowhere").warning)
        assert "layer" not in page.query_params
    looked(page.selectbox(key="layer-choice").set_value("conv1").run())
    assert not page.warning


def test_explores_last_move_counts_even_where_explore_was_not_drawn_with_it(
    app: AppTest, extras: Any
) -> None:
    app.query_params.update({"weight_pruning": "true", "weight_pruning.sparsity": "0.6"})
    app.query_params["extra"] = '{"weight_pruning":{"layers":{"exclude":["linear"]}}}'
    looked(app.run())
    app.slider(key="weight_pruning.sparsity").set_value(0.7)
    moved = {**PRUNED, "sparsity": 0.7, "layers": {"exclude": ["linear"]}}
    assert in_view(layers_page(app)) == recipe(moved)
    looked(app.selectbox(key="layer-model").set_value("digits_vit").run())
    looked(app.switch_page("compare/compare.py").run())
    app.query_params.clear()
    assert in_view(layers_page(app)) == Recipe("digits_vit", "digits"), "what Layers has shown since is newer"


def test_equal_names_are_told_apart() -> None:
    assert told_apart({"a": "x", "b": "x", "c": "y"}) == {"a": "x", "b": "x #2", "c": "y"}
