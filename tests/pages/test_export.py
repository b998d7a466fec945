"""The Export page: which result, its files and runtimes, and the way back to the sliders."""

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from compression.analysis.runtime_records import RuntimeRecord
from compression.service import ExperimentResult, Recipe, list_techniques, recipe_from_dict
from pages.export import runtimes
from pages.export.runtimes import runtime_table
from pages.shared.exchange import address_values
from pages.shared.url import choice
from pages.shared.url.choice import Choice
from pages.shared.url.state import widget_values

BASE = {"model": "digits_resnet", "dataset": "digits"}
RECORD = RuntimeRecord("torch", "2.13.0", "machine", "now", 900_000, 60, agreement=1.0, largest_difference=1e-6)


def pruned(sparsity: float, model: str = "digits_resnet") -> Recipe:
    return recipe_from_dict({**BASE, "model": model, "steps": [{"technique": "weight_pruning", "sparsity": sparsity}]})


def measured(fake: Any, *recipes: Recipe, state: str = "done") -> list[str]:
    keys = [fake.submit(recipe) for recipe in recipes]
    fake.states |= dict.fromkeys(keys, state)
    return keys


def export_page(app: AppTest, **address: str) -> AppTest:
    for name, value in address.items():
        app.query_params[name] = value
    shown = app.switch_page("export/export.py").run()
    assert not shown.exception
    return shown


def labels(page: AppTest) -> set[str]:
    return {button.label for button in page.get("download_button")}  # type: ignore[union-attr]


def test_an_empty_store_invites_and_still_takes_a_recipe(app: AppTest, fake: Any) -> None:
    page = export_page(app)
    assert any("Explore" in info.value for info in page.info)
    assert page.get("file_uploader")


def test_the_address_names_the_result_and_its_files_are_offered(app: AppTest, fake: Any) -> None:
    first, _ = measured(fake, pruned(0.3), pruned(0.6))
    page = export_page(app, result=first)
    assert page.selectbox(key="picked-result").value == first
    assert [m.label for m in page.metric].count("Accuracy") == 1
    assert labels(page) >= {"Bundle (.zip)", "recipe.yaml", "Report (.html)", "Model card (.md)", "model.onnx"}
    assert any("sparsity: 0.3" in code.value for code in page.code)
    assert any(code.value.startswith("python -m compression run") for code in page.code)


def test_another_run_and_another_model_can_be_chosen(app: AppTest, fake: Any) -> None:
    first, second, other = measured(fake, pruned(0.3), pruned(0.6), pruned(0.6, "digits_vit"))
    page = export_page(app, result=first)
    page.selectbox(key="picked-result").select(second).run()
    assert page.query_params["result"] == second
    page.selectbox(key="picked-model").select("digits_vit").run()
    assert page.query_params["result"] == other
    page = export_page(page, result="gone")
    assert "'gone'" in page.warning[0].value
    assert page.selectbox(key="picked-result").value == other


def test_a_choice_outlives_a_redraw_with_what_the_browser_said_before(
    app: AppTest, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "LATE_SECONDS", 1000)
    first, second, other = measured(fake, pruned(0.3), pruned(0.6), pruned(0.6, "digits_vit"))
    page = export_page(app, result=first)
    page.selectbox(key="picked-result").select(second).run()
    page.query_params["result"] = first  # sent before the browser had learnt of the new address
    assert page.run().selectbox(key="picked-result").value == second
    assert page.query_params["result"] == second
    page.selectbox(key="picked-model").select("digits_vit").run()
    page.query_params["result"] = second
    page.selectbox(key="picked-result").set_value(other)
    assert page.run().selectbox(key="picked-model").value == "digits_vit"
    page.selectbox(key="picked-model").select("digits_resnet").run()
    page.selectbox(key="picked-result").select(first).run()
    assert page.selectbox(key="picked-result").value == first, "a person may take a choice back at once"


def test_what_the_browser_said_before_is_no_news_for_a_while() -> None:
    own = Choice({"address": "b", "picker": "b"}, {"address": "a", "picker": "b"}, since=10.0)
    assert own.news({"address": "a", "picker": "b"}, 11.0) == {}
    assert own.news({"address": "a", "picker": None}, 60.0) == {"address": "a"}, "the way back in the history"
    assert own.news({"address": "a", "picker": "a"}, 11.0) == {"picker": "a"}
    assert own.news({"address": "c", "picker": "b"}, 11.0) == {"address": "c"}


def test_first_figures_say_so_and_can_be_measured_to_the_end(app: AppTest, fake: Any) -> None:
    (key,) = measured(fake, pruned(0.3), state="quick")
    page = export_page(app, result=key)
    assert any("First figures" in caption.value for caption in page.caption)
    fake.submitted.clear()
    page.button(key="refine").click().run()
    assert [recipe for recipe, _ in fake.submitted] == [pruned(0.3)]
    fake.states[key] = "done"
    page.run()
    assert not any("First figures" in caption.value for caption in page.caption)


def test_a_runtime_that_is_not_installed_says_how_it_gets_there(
    app: AppTest, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "installed", lambda key: None)
    (key,) = measured(fake, pruned(0.3))
    page = export_page(app, result=key, runtime="OpenVINO")
    assert any("pip install -r requirements-openvino.txt" in info.value for info in page.info)
    assert fake.exports.submitted == []


def test_a_runtime_is_measured_on_demand_with_cancel(app: AppTest, fake: Any) -> None:
    (key,) = measured(fake, pruned(0.3))
    page = export_page(app, result=key, runtime="PyTorch (.pt2)")
    page.button(key="start-runtime").click().run()
    assert fake.exports.submitted == [(key, "torch")]
    page.button(key="cancel-runtime").click().run()
    assert any("Cancelled" in caption.value for caption in page.caption)
    fake.states[f"{key}-torch"], fake.errors[f"{key}-torch"] = "failed", "a worker was lost"
    page.run()
    assert [error.value for error in page.error] == ["a worker was lost"]
    fake.exports.records[key, "torch"] = RECORD
    page.run()
    assert "model.pt2" in labels(page) and not page.error
    assert any("torch.export.load" in code.value for code in page.code)


def test_each_measured_runtime_is_a_row(fake: Any, make_result: Callable[[Recipe], ExperimentResult]) -> None:
    (key,) = measured(fake, pruned(0.3))
    fake.exports.records[key, "torch"] = RECORD
    table = runtime_table(fake.exports.subject(key))
    assert list(table["runtime"]) == ["ONNX Runtime", "PyTorch (.pt2) 2.13.0"]
    assert table["accuracy"][1] == "not scored" and "outputs within 1e-06" in table["same predictions"][1]


def test_a_result_goes_back_into_the_sliders(app: AppTest, fake: Any) -> None:
    (key,) = measured(fake, pruned(0.35))
    page = export_page(app, result=key)
    page.button(key="open").click().run()
    assert not page.exception
    assert page.slider(key="weight_pruning.sparsity").value == pytest.approx(0.35)
    assert page.toggle(key="weight_pruning").value is True


def test_the_address_of_a_recipe_leaves_out_what_is_off() -> None:
    values = widget_values(pruned(0.35), ["digits_resnet"], list_techniques())
    address = address_values(values)
    assert address["weight_pruning"] == "true" and address["weight_pruning.sparsity"] == "0.35"
    assert "quantization" not in address and "extra" not in address
    assert {key.partition(".")[0] for key in address} == {"model", "data", "weight_pruning"}
