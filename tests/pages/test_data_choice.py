"""The picker of the dataset that a model is scored on, and what the pages make of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from compression.search.spec import SearchSpec
from compression.service import ExperimentResult, Recipe, SensitivityMap, recipe_from_dict, recipe_to_yaml
from models.user.kept_data import add_data
from models.user.kept_models import add_model
from pages.compare.run_filters import RunFilter, listed
from pages.layers.recipe import read_recipe_text, recipe_text
from pages.search.form import form_values
from pages.shared.cards import cards_of
from pages.shared.comparison import against, run_table
from tests.models.own_things import class_folders

WHEN = "2026-01-01T00:00:00+00:00"
TEN = tuple(f"kind{number}" for number in range(10))
BASE = {"model": "digits_resnet", "dataset": "digits"}


@pytest.fixture(autouse=True)
def ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset of the user with as many classes as the digits models have."""
    monkeypatch.setenv("COMPRESSION_HOME", str(tmp_path / "home"))
    add_data("ten", class_folders(tmp_path / "ten", 3, TEN, 16), WHEN)


def seen(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def measured_last(fake: Any) -> tuple[str, str]:
    """Model and dataset of what the page asked for last."""
    recipe = fake.submitted[-1][0]
    return str(recipe.model), recipe.dataset


def pickers(page: AppTest, key: str = "data") -> list[Any]:
    return [own for own in page.selectbox if own.key == key]


def warned(page: AppTest) -> str:
    return " ".join(own.value for own in page.warning)


def test_explore_scores_on_the_chosen_data_set_and_undo_takes_it_back(app: AppTest, fake: Any) -> None:
    seen(app.run())
    assert app.selectbox(key="data").options == ["digits", "ten"] and measured_last(fake)[1] == "digits"
    assert "data" not in app.query_params
    seen(app.selectbox(key="data").set_value("ten").run())
    assert {recipe.dataset for recipe, _ in fake.submitted[-5:]} == {"ten"}
    assert app.subheader[0].value.endswith("scored on ten")
    seen(app.toggle(key="weight_pruning").set_value(True).run())
    seen(app.button(key="reset").click().run())
    assert app.selectbox(key="data").value == "ten" and app.toggle(key="weight_pruning").value is False
    for _ in range(3):
        seen(app.button(key="undo").click().run())
    assert app.selectbox(key="data").value == "digits" and measured_last(fake)[1] == "digits"
    assert app.button(key="redo").help == "Brings back: dataset"


def test_a_model_keeps_the_chosen_data_set_only_where_it_fits(app: AppTest, fake: Any) -> None:
    app.query_params["data"] = "ten"
    seen(app.run())
    assert measured_last(fake) == ("digits_resnet", "ten") and app.query_params["data"] == "ten"
    seen(app.selectbox(key="model").set_value("digits_vit").run())
    assert measured_last(fake) == ("digits_vit", "ten")
    seen(app.selectbox(key="model").set_value("python_gpt").run())
    assert measured_last(fake) == ("python_gpt", "python_source") and not pickers(app)
    assert "'ten' does not fit python_gpt" in warned(app)
    seen(app.run())
    assert "data" not in app.query_params and "'ten'" in warned(app)
    seen(app.selectbox(key="model").set_value("digits_mobilenet").run())
    assert measured_last(fake) == ("digits_mobilenet", "ten") and not warned(app), "where it fits it is kept"
    seen(app.selectbox(key="data").set_value("digits").run())
    seen(app.selectbox(key="model").set_value("digits_vit").run())
    assert measured_last(fake) == ("digits_vit", "digits")
    for model in ("digits_mobilenet", "digits_mobilenet", "python_gpt"):
        seen(app.button(key="undo").click().run())
        assert app.selectbox(key="model").value == model and not warned(app)


def test_another_models_own_data_set_goes_before_the_one_nobody_chose(app: AppTest, fake: Any) -> None:
    add_model("mine", {"architecture": "digits_resnet"}, None, "ten", WHEN)
    seen(app.run())
    seen(app.selectbox(key="model").set_value("mine").run())
    assert app.selectbox(key="data").options == ["ten", "digits"] and measured_last(fake) == ("mine", "ten")


def test_a_data_set_that_cannot_be_had_is_said_in_a_line(app: AppTest, fake: Any) -> None:
    for _ in range(2):  # when the page is opened, and by a link later on
        app.query_params["data"] = "mars"
        seen(app.run())
        assert "'mars' does not fit digits_resnet or is not here; digits is taken" in warned(app)
        assert measured_last(fake)[1] == "digits" and app.selectbox(key="data").value == "digits"
        assert "data" not in app.query_params


@pytest.mark.parametrize(("dataset", "taken"), [("ten", "ten"), ("cifar10", "digits")])
def test_an_import_brings_its_data_set(app: AppTest, fake: Any, dataset: str, taken: str) -> None:
    seen(app.run())
    steps = [{"technique": "weight_pruning", "sparsity": 0.35}]
    text = recipe_to_yaml(recipe_from_dict({**BASE, "dataset": dataset, "steps": steps}))
    seen(app.file_uploader(key="import").upload("a.yaml", text.encode(), "application/yaml").run())
    assert app.selectbox(key="data").value == taken and measured_last(fake)[1] == taken
    assert ("'cifar10'" in warned(app)) == (taken != dataset)


def test_layers_follow_and_go_back_to_explore_with_it(app: AppTest, fake: Any) -> None:
    app.query_params["data"] = "ten"
    seen(app.run())
    maps: list[tuple[str, str]] = []
    fake.sensitivity_job = lambda model, dataset, technique: maps.append((model, dataset)) or "map"
    fake.sensitivity_map = lambda model, dataset, technique: SensitivityMap(technique, (), (), (), {})
    fake.submit_prediction = lambda model, dataset, technique: "predicted"
    page = seen(app.switch_page("layers/layers.py").run())
    assert page.selectbox(key="layer-data").value == "ten" and ("digits_resnet", "ten") in maps
    seen(page.selectbox(key="layer-data").set_value("digits").run())
    shown = read_recipe_text(page.query_params["recipe"])
    assert shown == Recipe("digits_resnet", "digits") and maps[-1][1] == "digits"
    gone = recipe_text(replace(shown, dataset="mars"))
    page.query_params["recipe"] = gone
    assert "'mars'" in warned(seen(page.run())) and page.selectbox(key="layer-data").value == "digits"
    seen(page.button(key="open").click().run())
    assert page.selectbox(key="data").value == "digits" and measured_last(fake)[1] == "digits"


def test_search_asks_for_it_and_shows_its_baseline(app: AppTest, fake: Any) -> None:
    fake.searches = type("Searches", (), {"summaries": lambda self: [], "read": lambda self, name: None})()
    fake.states[fake.submit(Recipe("digits_resnet", "ten"))] = "done"
    page = seen(app.switch_page("search/search.py").run())
    assert page.selectbox(key="for-data").value == "digits"
    assert not any(own.value.startswith("fp32") for own in page.caption)
    seen(page.selectbox(key="for-data").set_value("ten").run())
    assert any(own.value.startswith("fp32") for own in page.caption)
    assert form_values(SearchSpec("digits_resnet", "ten", ("quantization",)))["for-data"] == "ten"


def test_runs_on_other_data_are_told_apart_and_not_compared(
    app: AppTest, fake: Any, make_result: Callable[[Recipe], ExperimentResult]
) -> None:
    recipes = [recipe_from_dict({**BASE, "dataset": own}) for own in ("digits", "ten")]
    digits, other = (make_result(own) for own in recipes)
    assert list(run_table([digits, other])["dataset"]) == ["digits", "ten"]
    assert "dataset" not in run_table([digits])
    assert listed([digits, other], RunFilter(datasets=["ten"]), "newest first") == [other]
    first, *rest = cards_of(against(other, digits), "A", same_data=False)
    assert first.delta == "" and cards_of(against(other, digits), "A")[0].delta and rest[0].help.startswith("A: ")
    keys = [fake.submit(own) for own in recipes]
    fake.states |= dict.fromkeys(keys, "done")
    app.query_params["pins"] = ",".join(keys)
    page = seen(app.switch_page("compare/compare.py").run())
    said = [own.value for own in page.caption]
    assert page.multiselect(key="datasets").options == ["digits", "ten"]
    assert any("their predictions cannot be compared" in own for own in said)
    assert "dataset" in page.dataframe[0].value.index
    page = seen(app.switch_page("export/export.py").run())
    assert {" on digits" in own or " on ten" in own for own in page.selectbox(key="picked-result").options} == {True}
