"""Recipe to widgets and back; plans; progress."""

import io
import zipfile
from dataclasses import replace

import pytest

from compression.service import (
    InputError,
    list_techniques,
    recipe_from_dict,
    recipe_to_dict,
    recipe_to_yaml,
    step_from_dict,
)
from pages.explore.plan import make_plan
from pages.shared.exchange import read_recipe
from pages.shared.url.address import Part
from pages.shared.url.state import EXTRA, ORDER, Controls, in_suggested_order, read_extra, recipe_of, widget_values

MODELS = ["digits_resnet", "digits_vit"]
BASE = {"model": "digits_resnet", "dataset": "digits"}


def back(values: dict[str, object]) -> Controls:
    """What the widgets would say after being set to these values."""
    enabled = {}
    for technique in list_techniques():
        if values[technique.key]:
            prefix = f"{technique.key}."
            enabled[technique.key] = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
    return Controls(str(values["model"]), "digits", enabled, read_extra(str(values[EXTRA])))


def test_widgets_reproduce_a_recipe_with_layers_overrides_and_subset() -> None:
    step = {
        "technique": "weight_pruning", "sparsity": 0.37, "layers": {"exclude": ["conv1"]},
        "overrides": {"linear": {"sparsity": 0.1}},
    }
    recipe = recipe_from_dict({**BASE, "seed": 3, "n_samples": 100, "steps": [step]})
    values = widget_values(recipe, MODELS, list_techniques())
    assert recipe_to_dict(recipe_of(back(values), list_techniques())) == recipe_to_dict(recipe)


def test_techniques_that_a_recipe_lacks_are_switched_off() -> None:
    values = widget_values(recipe_from_dict(BASE), MODELS, list_techniques())
    assert not any(values[technique.key] for technique in list_techniques())
    assert values[EXTRA] == ""


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({**BASE, "model": "resnet_of_mars"}, "model"),
        ({**BASE, "steps": [{"technique": "weight_pruning"}, {"technique": "weight_pruning"}]}, "steps"),
    ],
)
def test_recipes_that_the_page_cannot_show_are_refused(data: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        widget_values(recipe_from_dict(data), MODELS, list_techniques())
    assert caught.value.field == field


@pytest.mark.parametrize("text", ["{", "3", "[1]"])
def test_damaged_extras_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        read_extra(text)


def test_a_recipe_is_read_from_yaml_and_from_a_bundle() -> None:
    recipe = recipe_from_dict({**BASE, "steps": [{"technique": "weight_pruning", "sparsity": 0.4}]})
    text = recipe_to_yaml(recipe).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("recipe.yaml", text)
    assert read_recipe(text) == recipe
    assert read_recipe(buffer.getvalue()) == recipe


def test_foreign_files_are_refused_in_one_line() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("other.txt", "x")
    for content in (buffer.getvalue(), b"\x89PNG\r\n\x1a\n\x00", b"a: [", b"x" * 1_000_001):
        with pytest.raises(InputError) as caught:
            read_recipe(content)
        assert "\n" not in str(caught.value)


def test_a_plan_has_one_curve_per_technique_and_the_sliders_own_value_on_it() -> None:
    recipe = recipe_from_dict({**BASE, "steps": [{"technique": "weight_pruning", "sparsity": 0.37}]})
    plan = make_plan(recipe, list_techniques(), together=False, invite=[step_from_dict({"technique": "quantization"})])
    assert [curve.technique for curve in plan.curves] == ["weight_pruning"]
    assert recipe in plan.curves[0].recipes
    assert list(plan.curves[0].values) == sorted(plan.curves[0].values)
    assert not plan.invitation


def test_an_empty_recipe_shows_the_invited_curves_unless_they_are_hidden() -> None:
    steps = [{"technique": "quantization", "activation_bits": 8}, {"technique": "channel_pruning"}]
    invited = [step_from_dict(step) for step in steps]
    plan = make_plan(recipe_from_dict(BASE), list_techniques(), together=False, invite=invited)
    assert plan.invitation
    assert [curve.technique for curve in plan.curves] == ["quantization", "channel_pruning"]
    assert all(recipe.steps[0].config.activation_bits == 8 for recipe in plan.curves[0].recipes)
    assert plan.curves[0].values == (8, 7, 6, 5, 4, 3, 2)
    assert plan.wanted()[0][0] == recipe_from_dict(BASE)
    assert plan.wanted()[0][1] == max(priority for _, priority in plan.wanted())
    hidden = make_plan(
        recipe_from_dict(BASE), list_techniques(), together=False, invite=invited, hidden=["quantization"]
    )
    assert [curve.technique for curve in hidden.curves] == ["channel_pruning"]


def test_values_that_the_other_knobs_rule_out_are_left_out_of_the_curve() -> None:
    step = {"technique": "quantization", "weight_bits": 8, "activation_bits": 8}
    plan = make_plan(recipe_from_dict({**BASE, "steps": [step]}), list_techniques(), together=False)
    assert 16 not in plan.curves[0].values
    assert 4 in plan.curves[0].values


def test_a_new_student_comes_before_what_acts_on_a_network() -> None:
    def order(student: str) -> list[str]:
        enabled = {"channel_pruning": {}, "distillation": {"student": student}, "quantization": {}}
        recipe = recipe_of(Controls("digits_resnet", "digits", enabled, {}), list_techniques())
        return [step.technique for step in recipe.steps]

    assert order("half_width") == ["distillation", "channel_pruning", "quantization"]
    assert order("half_depth") == ["channel_pruning", "distillation", "quantization"]


def test_a_recipe_keeps_the_order_of_its_steps() -> None:
    steps = [{"technique": "quantization"}, {"technique": "channel_pruning"}, {"technique": "low_rank"}]
    recipe = recipe_from_dict({**BASE, "steps": steps})
    values = widget_values(recipe, MODELS, list_techniques())
    assert values[ORDER] == "quantization,channel_pruning,low_rank"
    controls = replace(back(values), order=str(values[ORDER]).split(","))
    assert recipe_to_dict(recipe_of(controls, list_techniques())) == recipe_to_dict(recipe)
    suggested = recipe_of(back(values), list_techniques())
    assert widget_values(suggested, MODELS, list_techniques())[ORDER] == ""
    some = recipe_of(replace(controls, order=["low_rank", "channel_pruning"]), list_techniques())
    assert [step.technique for step in some.steps] == ["low_rank", "channel_pruning", "quantization"]
    with pytest.raises(InputError):
        recipe_of(replace(controls, order=["mars"]), list_techniques())


def test_further_curves_lie_beside_the_recipe_and_hidden_ones_are_not_wanted() -> None:
    steps = [{"technique": "channel_pruning"}, {"technique": "quantization"}]
    recipe = recipe_from_dict({**BASE, "steps": steps})
    plan = make_plan(
        recipe, list_techniques(), together=False, also=["low_rank"], hidden=["quantization"]
    )
    assert [(curve.technique, curve.aside) for curve in plan.curves] == [("channel_pruning", False), ("low_rank", True)]
    assert {tuple(s.technique for s in r.steps) for r in plan.curves[1].recipes} == {("low_rank",)}
    together = make_plan(recipe, list_techniques(), together=True, also=["low_rank"])
    added = together.curves[2].recipes[0].steps
    assert sorted(step.technique for step in added) == ["channel_pruning", "low_rank", "quantization"]
    assert added == in_suggested_order(added, list_techniques())


def test_an_address_that_says_what_it_said_before_is_not_believed_for_a_while() -> None:
    first = Part("a").changed("a", "b", 10.0)
    second = first.changed("a", "c", 11.0)  # the browser has not learnt of the first change either
    assert first.believed("a", 11.0) == first.believed("b", 11.0) == "b"
    assert second.believed("a", 12.0) == second.believed("b", 12.0) == "c"
    assert second.believed("d", 12.0) == "d", "a link is news"
    assert second.believed("a", 60.0) == "a", "so is the way back in the history"
    assert second.changed("c", "a", 12.0).believed("a", 12.5) == "a", "a choice may be taken back at once"
