"""One current model, dataset and recipe for all pages."""

from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from compression.service import Recipe
from tests.pages.test_layers import PRUNED, extras, in_view, looked, measured, recipe

__all__ = ["extras"]
FASHION = Recipe("fashion_resnet20", "fashion_mnist")
PAGES = ("search", "layers", "export", "compare")


@pytest.fixture
def page(app: AppTest, fake: Any, extras: Any) -> AppTest:
    """The application with runs of two models, the newest of another model than the one that is looked at."""
    del extras
    fake.searches = SimpleNamespace(read=lambda name: None, summaries=list)
    measured(fake, FASHION, recipe(), recipe(PRUNED))
    app.default_timeout = 60
    return app


def go(app: AppTest, name: str, **address: str) -> AppTest:
    """Another page, with the address that a link of the navigation has: none, or another one."""
    for key in list(app.query_params):
        del app.query_params[key]
    app.query_params.update(address)
    return looked(app.switch_page(f"{name}/{name}.py").run())


def model_of(app: AppTest, name: str) -> str:
    """The model that a page shows."""
    if name == "compare":
        (model,) = app.multiselect(key="models").value
        return str(model)
    keys = {"search": "for-model", "layers": "layer-model", "export": "picked-model"}
    return str(app.selectbox(key=keys[name]).value)


def test_every_page_opens_with_explores_model(page: AppTest) -> None:
    page.query_params["model"] = FASHION.model
    looked(page.run())
    for name in PAGES:
        assert model_of(go(page, name), name) == FASHION.model, name
    go(page, "explore")
    assert page.selectbox(key="model").value == FASHION.model


@pytest.mark.parametrize("name", PAGES)
def test_a_link_may_name_the_model(page: AppTest, name: str) -> None:
    assert model_of(go(page, name, model=FASHION.model), name) == FASHION.model
    assert "model" not in page.query_params, "what was chosen since would contradict it"
    go(page, "explore")
    assert page.selectbox(key="model").value == FASHION.model


@pytest.mark.parametrize("name", PAGES)
def test_an_unknown_model_is_reported(page: AppTest, name: str) -> None:
    go(page, name, model="nowhere")
    assert any("'nowhere'" in own.value for own in page.warning)


def test_what_another_page_has_chosen_is_what_explore_shows(page: AppTest) -> None:
    page.query_params.update({"model": str(FASHION.model), "quantization": "true"})
    looked(page.run())
    go(page, "layers", recipe='{"model":"digits_resnet","dataset":"digits","steps":[{"technique":"low_rank"}]}')
    go(page, "explore")
    assert page.selectbox(key="model").value == "digits_resnet"
    assert (page.toggle(key="low_rank").value, page.toggle(key="quantization").value) == (True, False)
    page.button(key="undo").click().run()
    assert page.selectbox(key="model").value == FASHION.model, "the sliders of before are not lost"


def test_export_opens_with_the_result_of_the_recipe(page: AppTest) -> None:
    go(page, "layers", recipe='{"model":"digits_resnet","dataset":"digits"}')
    go(page, "export")
    assert "uncompressed" in page.selectbox(key="picked-result").format_func(page.selectbox(key="picked-result").value)
    go(page, "layers")
    assert in_view(page) == recipe(), "a visit changes nothing"


def test_a_model_without_runs_is_named(page: AppTest) -> None:
    page.query_params["model"] = "digits_vit"
    looked(page.run())
    go(page, "export")
    assert any("Nothing of digits_vit has been measured yet" in own.value for own in page.info)
    go(page, "layers")
    assert page.selectbox(key="layer-model").value == "digits_vit"
