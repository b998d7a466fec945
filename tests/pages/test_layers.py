"""The Layers page: the map as it fills, shares, what is set for one layer, and its values before and after."""

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from compression.analysis.distribution import Distribution, LayerDistributions, Values
from compression.analysis.sensitivity import strengths
from compression.service import ExperimentResult, Recipe, Sensitivity, SensitivityMap, recipe_from_dict
from compression.techniques import get_technique
from pages.layers.panel import facts_table
from pages.layers.recipe import read_recipe_text, recipe_text

BASE = {"model": "digits_resnet", "dataset": "digits"}
LAYERS = ("conv1", "linear")
VALUES = Values(10, 0.0, 9, -1.0, 1.0, 0.0, 0.5, (4, 6))
PRUNED = {"technique": "weight_pruning", "sparsity": 0.6}


class Extras:
    """What the page asks of the service beside results: maps and values that a test puts there."""

    def __init__(self, fake: Any) -> None:
        self.fake = fake
        self.rows: dict[str, list[Sensitivity]] = {}
        self.gaps: dict[str, dict[str, str]] = {}
        self.values: dict[str, LayerDistributions] = {}
        self.begun: list[str] = []

    def sensitivity_job(self, model: str, dataset: str, technique: str) -> str:
        return f"map-{model}-{dataset}-{technique}"

    def sensitivity_map(self, model: str, dataset: str, technique: str) -> SensitivityMap:
        del model, dataset
        rows = tuple(self.rows.get(technique, ()))
        layers = LAYERS if rows or technique in self.gaps else ()
        values, gaps = strengths(get_technique(technique)), self.gaps.get(technique, {})
        return SensitivityMap(technique, layers, values, rows, gaps, has_prediction=True)

    def submit_prediction(self, model: str, dataset: str, technique: str) -> str:
        return f"predicted-{model}-{dataset}-{technique}"

    def submit_sensitivity(self, model: str, dataset: str, technique: str) -> str:
        self.begun.append(technique)
        job = self.sensitivity_job(model, dataset, technique)
        self.fake.states[job] = "running"
        return job

    def job(self, key: str) -> str:
        return f"values-{key}"

    def submit(self, key: str) -> str:
        self.fake.states[self.job(key)] = "running"
        return self.job(key)

    def get(self, key: str, fqn: str) -> LayerDistributions | None:
        del key
        return self.values.get(fqn)

    def measure(self, technique: str) -> None:
        self.rows[technique] = [
            Sensitivity(fqn, technique, "knob", value, 0.1, 0.01, 100, 1000)
            for fqn in LAYERS for value in strengths(get_technique(technique))
        ]


@pytest.fixture
def extras(fake: Any) -> Extras:
    own = Extras(fake)
    fake.distributions = own
    for name in ("sensitivity_job", "sensitivity_map", "submit_sensitivity", "submit_prediction"):
        setattr(fake, name, getattr(own, name))
    return own


def recipe(*steps: dict[str, Any]) -> Recipe:
    return recipe_from_dict({**BASE, "steps": list(steps)})


def measured(fake: Any, *recipes: Recipe) -> list[str]:
    keys = [fake.submit(own) for own in recipes]
    fake.states |= dict.fromkeys(keys, "done")
    return keys


def layers_page(app: AppTest, own: Recipe | None = None, **address: str) -> AppTest:
    if own is not None:
        address["recipe"] = recipe_text(own)
    for name, value in address.items():
        app.query_params[name] = value
    return looked(app.switch_page("layers/layers.py").run())


def looked(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def in_view(page: AppTest) -> Recipe:
    text = page.query_params["recipe"]
    return read_recipe_text(text[0] if isinstance(text, list) else text)


def test_the_model_is_measured_and_its_map_can_be_started(app: AppTest, fake: Any, extras: Extras) -> None:
    page = layers_page(app)
    assert [own for own, _ in fake.submitted] == [recipe()]
    assert in_view(page) == recipe()
    looked(page.button(key="start-map").click().run())
    assert extras.begun == ["weight_pruning", "quantization"]
    assert page.button(key="cancel-map")
    looked(page.button(key="cancel-map").click().run())
    assert fake.states["map-digits_resnet-digits-quantization"] == "cancelled"
    assert any("Cancelled" in caption.value for caption in page.caption)


def test_a_partly_measured_map_is_drawn_and_goes_on(app: AppTest, fake: Any, extras: Extras) -> None:
    measured(fake, recipe())
    extras.measure("quantization")
    page = layers_page(app)
    assert page.get("plotly_chart")
    table = page.dataframe[0].value
    assert list(table.index) == list(LAYERS) and table["Quantization: weight bits 2"]["conv1"] == 0.1
    looked(page.button(key="start-map").click().run())
    assert extras.begun == ["weight_pruning"]
    extras.gaps["weight_pruning"] = dict.fromkeys(LAYERS, "no weights")
    fake.states = {key: state for key, state in fake.states.items() if not key.startswith("map-")}
    looked(page.run())
    assert any("no weights" in caption.value for caption in page.caption)
    assert not any(button.key == "start-map" for button in page.button)


def test_a_layer_is_given_its_own_knobs_and_gives_them_back(app: AppTest, fake: Any, extras: Extras) -> None:
    own = recipe(PRUNED)
    measured(fake, recipe(), own)
    page = layers_page(app, own, layer="linear")
    slider = next(s for s in page.slider if s.label.startswith("Sparsity"))
    slider.set_value(0.2)
    looked(page.button(key="apply").click().run())
    assert in_view(page) == recipe({**PRUNED, "overrides": {"linear": {"sparsity": 0.2}}})
    assert any("of its own: sparsity 0.2" in text.value for text in page.markdown)
    looked(page.button(key="change-0").click().run())
    assert in_view(page) == own
    looked(page.button(key="change-0").click().run())
    assert in_view(page) == recipe({**PRUNED, "layers": {"exclude": ["linear"]}})
    assert any("protected here" in text.value for text in page.markdown)


def test_the_effect_is_measured_with_and_without_the_setting(app: AppTest, fake: Any, extras: Extras) -> None:
    own = recipe({**PRUNED, "overrides": {"linear": {"sparsity": 0.2}}})
    measured(fake, recipe())
    page = layers_page(app, own, layer="linear")
    fake.submitted.clear()
    looked(page.button(key="start-effect").click().run())
    assert [asked for asked, _ in fake.submitted] == [own, recipe(PRUNED)]
    fake.finish()
    looked(page.run())
    table = next(frame.value for frame in page.dataframe if "difference" in frame.value)
    assert list(table["figure"])[:3] == ["accuracy", "95 % interval", "packed kB"]


def test_values_are_looked_at_on_demand(app: AppTest, fake: Any, extras: Extras) -> None:
    own = recipe(PRUNED)
    _, key = measured(fake, recipe(), own)
    page = layers_page(app, own, layer="linear")
    looked(page.button(key="start-values").click().run())
    assert fake.states[f"values-{key}"] == "running"
    looked(page.button(key="cancel-values").click().run())
    assert any(caption.value == "Cancelled." for caption in page.caption)
    places = {"weights": Distribution((-1.0, 0.0, 1.0), VALUES, VALUES)}
    extras.values["linear"] = LayerDistributions("linear", 64, places)
    looked(page.run())
    table = next(frame.value for frame in page.dataframe if "values" in frame.value)
    assert list(table["different"]) == ["9", "9"] and any("64 calibration" in c.value for c in page.caption)


def test_the_recipe_goes_to_explore_with_what_it_says_of_layers(app: AppTest, fake: Any, extras: Extras) -> None:
    own = recipe({**PRUNED, "layers": {"exclude": ["linear"]}})
    measured(fake, recipe(), own)
    page = layers_page(app, own)
    looked(page.button(key="open").click().run())
    assert page.slider(key="weight_pruning.sparsity").value == pytest.approx(0.6)
    assert own in [asked for asked, _ in fake.submitted[2:]]


def test_what_explore_shows_is_in_view_here(app: AppTest, fake: Any, extras: Extras) -> None:
    app.query_params["weight_pruning"], app.query_params["weight_pruning.sparsity"] = "true", "0.6"
    looked(app.run())
    page = layers_page(app)
    assert in_view(page) == recipe(PRUNED)


def test_the_address_names_the_techniques_of_the_map_by_their_keys(app: AppTest, fake: Any, extras: Extras) -> None:
    measured(fake, recipe())
    page = layers_page(app, map="low_rank")
    assert page.pills(key="map-techniques").value == ["low_rank"]
    looked(page.pills(key="map-techniques").set_value(["low_rank", "quantization"]).run())
    assert page.query_params["map"] == "low_rank,quantization"
    looked(page.segmented_control(key="view").set_value("List").run())
    looked(page.segmented_control(key="view").set_value("Sensitivity").run())
    assert set(page.pills(key="map-techniques").value) == {"quantization", "low_rank"}
    looked(page.pills(key="map-techniques").set_value(["quantization", "weight_pruning"]).run())
    assert "map" not in page.query_params
    page = layers_page(AppTest.from_file(app._script_path, default_timeout=20), map="Quantization,low_rank")
    assert any(own.value.startswith("map: 'Quantization' is not allowed; allowed: ") for own in page.warning)
    assert page.query_params["map"] == "low_rank"


def test_wrong_addresses_are_said_and_survived(app: AppTest, fake: Any, extras: Extras) -> None:
    measured(fake, recipe())
    page = layers_page(app, recipe="{", layer="nowhere")
    told = [warning.value for warning in page.warning]
    assert any("recipe" in text for text in told) and any("'nowhere'" in text for text in told)
    assert in_view(page) == recipe()


def test_facts_of_the_uncompressed_model_are_shown_once(make_result: Callable[[Recipe], ExperimentResult]) -> None:
    base, own = make_result(recipe()), make_result(recipe(PRUNED))
    assert list(facts_table("conv1", base, base)) == ["uncompressed"]
    assert list(facts_table("conv1", base, own)) == ["uncompressed", "this recipe"]
    assert list(facts_table("conv1", None, own)) == ["this recipe"]


@pytest.mark.parametrize("view", ["Share", "List"])
def test_shares_and_list_are_views_of_their_own(app: AppTest, fake: Any, extras: Extras, view: str) -> None:
    own = recipe(PRUNED)
    measured(fake, recipe(), own)
    page = layers_page(app, own, view=view)
    if view == "Share":
        assert page.get("plotly_chart") and any("largest share" in caption.value for caption in page.caption)
    else:
        table = page.dataframe[0].value
        assert list(table["layer"]) == list(LAYERS) and list(table["weights"]) == [144, 640]
        assert table["reason"][0] == "first layer"
