"""The Explore page as a person uses it, with a stand-in for the service."""

from typing import Any

import pytest
from streamlit.runtime.scriptrunner import StopException
from streamlit.testing.v1 import AppTest

from compression.service import InputError, recipe_from_dict, recipe_hash, recipe_to_yaml
from pages.explore.plan import make_plan
from pages.explore.session_jobs import Tracker
from pages.explore.view import View
from pages.shared import exchange
from pages.shared.url import changes, choice


def complaints(app: AppTest) -> list[str]:
    return [*(e.message for e in app.exception), *(e.value for e in app.error)]


def texts(app: AppTest) -> str:
    return "\n".join(e.value for e in (*app.markdown, *app.caption, *app.info))


def metrics(app: AppTest) -> dict[str, tuple[str, str]]:
    return {m.label: (m.value, m.delta) for m in app.metric}


def settle(app: AppTest, fake: Any) -> AppTest:
    """Let all jobs end and the page see it."""
    fake.finish()
    return app.run()


def test_a_newcomer_gets_a_first_curve_without_asking(app: AppTest, fake: Any) -> None:
    app.run()
    assert complaints(app) == []
    assert fake.submitted[0][0].steps == ()
    assert len(fake.submitted) > 5
    assert "measured first" in texts(app)
    settle(app, fake)
    assert metrics(app)["Accuracy"] == ("98.7 %", "")
    assert "Switch a technique on" in texts(app)
    assert "(97.6 to 99.3)" in texts(app)
    assert complaints(app) == []


def test_every_technique_has_a_toggle_and_its_knobs(app: AppTest, fake: Any) -> None:
    app.run()
    for technique in fake.techniques():
        app.toggle(key=technique.key).set_value(True)
    app.run()
    assert complaints(app) == []
    keys = {w.key for kind in ("slider", "select_slider", "selectbox", "toggle", "number_input") for w in app.get(kind)}
    for technique in fake.techniques():
        assert f"{technique.key}.{technique.main_knob}" in keys
        assert technique.paper_url in texts(app)


def test_moving_a_slider_measures_that_recipe_first_and_shows_it(app: AppTest, fake: Any) -> None:
    settle(app.run(), fake)
    app.toggle(key="weight_pruning").set_value(True).run()
    app.slider(key="weight_pruning.sparsity").set_value(0.37).run()
    recipe, priority = next((r, p) for r, p in reversed(fake.submitted) if r.steps and p > 0)
    assert recipe.steps[0].config.sparsity == pytest.approx(0.37)
    assert priority > 0
    settle(app, fake)
    assert "sparsity 0.37" in texts(app)
    assert metrics(app)["Packed size"][1].startswith("-")
    assert complaints(app) == []


def test_the_sweep_tells_how_far_it_is(app: AppTest, fake: Any) -> None:
    app.query_params["weight_pruning"] = "true"
    app.run()
    fake.finish(4)
    app.run()
    shown = texts(app) + "".join(str(p.proto.text) for p in app.get("progress"))
    assert "4 of 11 points" in shown


def test_a_view_is_its_address(app: AppTest, fake: Any) -> None:
    app.query_params.update({"model": "digits_vit", "weight_pruning": "true", "weight_pruning.sparsity": "0.85"})
    app.run()
    assert app.selectbox(key="model").value == "digits_vit"
    assert app.slider(key="weight_pruning.sparsity").value == pytest.approx(0.85)
    assert any(r.model == "digits_vit" and r.steps and r.steps[0].config.sparsity == 0.85 for r, _ in fake.submitted)


def test_an_unknown_model_in_the_address_is_named(app: AppTest, fake: Any) -> None:
    app.query_params["model"] = "resnet_of_mars"
    app.run()
    for _ in range(2):  # a redraw does not take it away
        (said,) = [w.value for w in app.main.warning]  # in the sidebar it would be hidden on a narrow screen
        assert "resnet_of_mars" in said and "digits_resnet" in said
        assert not app.exception
        app.run()
    app.button(key="dismiss").click().run()
    assert not app.main.warning and not app.exception


def test_a_selected_point_takes_the_cards_and_can_be_loaded(app: AppTest, fake: Any) -> None:
    settle(app.run(), fake)
    app.query_params["weight_pruning"] = "true"
    app.toggle(key="weight_pruning").set_value(True).run()
    settle(app, fake)
    point = next(
        k for k, r in fake.recipes.items() if r.steps and getattr(r.steps[0].config, "sparsity", None) == 0.9
    )
    app.query_params["point"] = point
    app.run()
    assert "**Selected**" in texts(app)
    app.button(key="load").click().run()
    assert app.slider(key="weight_pruning.sparsity").value == pytest.approx(0.9)
    assert "point" not in app.query_params
    assert complaints(app) == []


def test_a_selection_that_is_gone_is_ignored(app: AppTest, fake: Any) -> None:
    app.query_params["point"] = "nothing"
    settle(app.run(), fake)
    assert "point" not in app.query_params
    assert complaints(app) == []


def test_cancel_keeps_what_is_measured_and_can_be_taken_up_again(app: AppTest, fake: Any) -> None:
    app.run()
    fake.finish(3)
    app.run()
    app.button(key="cancel").click().run()
    assert sum(state == "done" for state in fake.states.values()) == 3
    assert not any(state == "queued" for state in fake.states.values())
    before = len(fake.submitted)
    app.run()
    assert len(fake.submitted) == before
    assert "Cancelled" in texts(app)
    app.button(key="resume").click().run()
    assert any(state == "queued" for state in fake.states.values())


def test_what_a_moved_slider_no_longer_wants_is_cancelled(app: AppTest, fake: Any) -> None:
    app.run()
    wanted_before = set(fake.states)
    app.toggle(key="weight_pruning").set_value(True).run()
    dropped = {key for key in wanted_before if fake.recipes[key].steps}
    assert dropped
    assert all(fake.states[key] == "cancelled" for key in dropped)


def test_a_failed_point_is_told_in_one_line_and_others_stay(app: AppTest, fake: Any) -> None:
    app.run()
    fake.finish(4)
    failed = next(key for key, state in fake.states.items() if state == "queued")
    fake.states[failed], fake.errors[failed] = "failed", "the technique cannot act on this model"
    settle(app, fake)
    assert complaints(app) == ["the technique cannot act on this model"]
    assert metrics(app)["Accuracy"][0] == "98.7 %"


def test_a_refused_recipe_is_a_clear_message(app: AppTest, fake: Any) -> None:
    fake.refused = InputError("dataset", "digits", "it is not on this machine")
    app.run()
    assert complaints(app) == ["dataset: 'digits' is not allowed; it is not on this machine"]
    assert not app.exception


def test_a_tie_is_not_shown_as_a_loss(app: AppTest, fake: Any) -> None:
    app.query_params.update({"weight_pruning": "true", "weight_pruning.sparsity": "0.5"})
    app.run()
    settle(app, fake)
    assert metrics(app)["Accuracy"][1].endswith("a tie")


def test_results_that_are_still_refined_are_said_to_be(app: AppTest, fake: Any) -> None:
    app.run()
    fake.finish(state="quick")
    app.run()
    assert "being tightened" in texts(app)
    assert metrics(app)["Accuracy"][0] == "98.7 %"


def test_import_sets_the_sliders(app: AppTest, fake: Any) -> None:
    app.run()
    step = {"technique": "weight_pruning", "sparsity": 0.42}
    recipe = recipe_from_dict({"model": "digits_vit", "dataset": "digits", "steps": [step]})
    app.file_uploader(key="import").upload("mine.yaml", recipe_to_yaml(recipe).encode(), "application/yaml").run()
    assert app.selectbox(key="model").value == "digits_vit"
    assert app.slider(key="weight_pruning.sparsity").value == pytest.approx(0.42)
    assert any("mine.yaml" in s.value for s in app.success)


def test_a_foreign_import_is_refused_and_changes_nothing(app: AppTest, fake: Any) -> None:
    app.run()
    app.file_uploader(key="import").upload("mine.yaml", b"model: [", "application/yaml").run()
    assert len(complaints(app)) == 1
    assert complaints(app)[0].startswith("mine.yaml: ")
    assert app.selectbox(key="model").value == "digits_resnet"


def test_an_import_is_not_lost_when_its_redraw_is_cut_off(
    app: AppTest, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is by a click, or by the redraw of a fragment that reports the file a moment before the page does."""
    app.run()
    recipe = recipe_from_dict({
        "model": "digits_resnet", "dataset": "digits", "steps": [{"technique": "weight_pruning", "sparsity": 0.42}],
    })
    field = app.file_uploader(key="import").upload("mine.yaml", recipe_to_yaml(recipe).encode(), "application/yaml")

    def cut_off(content: bytes) -> None:
        raise StopException

    with monkeypatch.context() as patched:
        patched.setattr(exchange, "read_recipe", cut_off)
        field.run()
    app.run()
    assert app.slider(key="weight_pruning.sparsity").value == pytest.approx(0.42)
    assert any("mine.yaml" in s.value for s in app.success)
    monkeypatch.setattr(changes, "_KEPT_SECONDS", 0.0)
    app.toggle(key="weight_pruning").set_value(False).run()
    assert not app.toggle(key="weight_pruning").value, "a file is put into the sliders once"
    assert any("mine.yaml" in s.value for s in app.success), "its confirmation stays"


def test_a_change_that_the_browser_did_not_know_of_yet_is_made_again(app: AppTest, fake: Any) -> None:
    app.run()
    app.button(key="preset-mobile").click().run()
    assert app.toggle(key="quantization").value
    for technique in fake.techniques():  # as a timed redraw reports them that was sent before the answer came
        app.toggle(key=technique.key).set_value(False)
    app.run()
    assert app.toggle(key="quantization").value
    assert app.slider(key="channel_pruning.pruning_ratio").value == pytest.approx(0.2)
    app.toggle(key="quantization").set_value(False).run()
    assert not app.toggle(key="quantization").value, "what a person takes back stays so"


def test_presets_set_recipe_axes_and_limits_and_undo_takes_them_back(app: AppTest, fake: Any) -> None:
    settle(app.run(), fake)
    assert app.button(key="undo").disabled
    app.button(key="preset-microcontroller").click().run()
    assert app.toggle(key="channel_pruning").value
    assert app.toggle(key="quantization").value
    assert app.select_slider(key="quantization.activation_bits").value == 8
    assert app.selectbox(key="right-axis").value == "peak_memory_bytes"
    assert app.number_input(key="max-size").value == 100.0
    assert app.number_input(key="min-accuracy").value == pytest.approx(96.7)
    assert any("Microcontroller" in i.value for i in app.info)
    app.slider(key="channel_pruning.pruning_ratio").set_value(0.7).run()
    app.button(key="undo").click().run()
    assert app.slider(key="channel_pruning.pruning_ratio").value == pytest.approx(0.5)
    app.button(key="undo").click().run()
    assert not app.toggle(key="channel_pruning").value
    assert app.number_input(key="max-size").value is None
    assert app.selectbox(key="right-axis").value == "latency_ms_p50"
    assert app.button(key="undo").disabled
    for _ in range(2):
        app.button(key="redo").click().run()
    assert app.slider(key="channel_pruning.pruning_ratio").value == pytest.approx(0.7)
    assert app.button(key="redo").disabled
    app.button(key="reset").click().run()
    assert not any(app.toggle(key=technique.key).value for technique in fake.techniques())
    assert app.number_input(key="max-size").value is None
    app.button(key="undo").click().run()
    assert app.slider(key="channel_pruning.pruning_ratio").value == pytest.approx(0.7)
    app.button(key="dismiss").click().run()
    assert not any("Microcontroller" in i.value for i in app.info)
    assert complaints(app) == []


def test_a_preset_before_the_first_figures_says_which_limits_it_could_not_set(app: AppTest, fake: Any) -> None:
    app.run()
    app.button(key="preset-server").click().run()
    assert app.number_input(key="min-accuracy").value is None
    assert app.number_input(key="min-speedup").value == pytest.approx(1.2)
    assert any("Choose it again" in i.value for i in app.info)


def test_steps_can_be_put_in_another_order_and_back(app: AppTest, fake: Any) -> None:
    app.query_params.update({"channel_pruning": "true", "quantization": "true"})
    app.run()
    app.button(key="up-quantization").click().run()
    assert app.query_params["order"] == "quantization,channel_pruning"
    current = next(r for r, priority in reversed(fake.submitted) if priority == 50)
    assert [step.technique for step in current.steps] == ["quantization", "channel_pruning"]
    app.button(key="suggested-order").click().run()
    assert "order" not in app.query_params
    app.button(key="undo").click().run()
    assert app.query_params["order"] == "quantization,channel_pruning"
    app.query_params["order"] = "mars"
    app.session_state["order"] = "mars"
    app.run()
    assert len(complaints(app)) == 1
    assert complaints(app)[0].startswith("order: 'mars'")


def test_curves_can_be_added_for_comparison_hidden_and_combined(app: AppTest, fake: Any) -> None:
    app.query_params["weight_pruning"] = "true"
    app.run()
    app.multiselect(key="also").set_value(["low_rank"]).run()
    app.multiselect(key="hide").set_value(["weight_pruning"]).run()
    assert (app.query_params["also"], app.query_params["hide"]) == ("low_rank", "weight_pruning")
    wanted = [r for r, _ in fake.submitted if fake.states[f"key-{recipe_hash(r)[:16]}"] == "queued"]
    alone = [[step.technique for step in r.steps] for r in wanted]
    assert ["low_rank"] in alone
    assert alone.count(["weight_pruning"]) == 1, "of what is hidden only the current recipe is measured"
    app.button(key="combine").click().run()
    assert app.toggle(key="low_rank").value
    assert app.multiselect(key="also").value == [] and "also" not in app.query_params
    assert complaints(app) == []


def test_an_address_names_curves_by_their_keys_and_may_name_their_titles(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "LATE_SECONDS", 1000)
    app.query_params["hide"] = ["Weight pruning", "low_rank", "mars"]
    app.run()
    assert app.multiselect(key="hide").value == ["weight_pruning", "low_rank"]
    assert app.query_params["hide"] == "weight_pruning,low_rank"
    assert any(own.value.startswith("hide: 'mars' is not allowed; allowed: ") for own in app.warning)
    app.multiselect(key="hide").set_value([]).run()
    assert "hide" not in app.query_params
    app.query_params["hide"] = "weight_pruning,low_rank"  # sent before the browser had learnt of the new address
    assert app.run().multiselect(key="hide").value == [] and "hide" not in app.query_params
    app.query_params["hide"] = "quantization"
    assert app.run().multiselect(key="hide").value == ["quantization"]
    assert complaints(app) == []


def test_a_bundle_is_offered_once_it_is_packed_and_never_under_the_name_of_another_point(
    app: AppTest, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is packed the button of the point shown before must be gone."""
    settle(app.run(), fake)
    enabled = [button.proto for button in app.get("download_button") if button.proto.label == "Bundle (.zip)"]
    assert [button.disabled for button in enabled] == [False]

    def interrupted(key: str) -> object:
        raise OSError(f"interrupted while {key} was packed")

    monkeypatch.setattr(fake, "bundle", interrupted)
    fake.packed.clear()
    app.toggle(key="weight_pruning").set_value(True).run()
    settle(app, fake)
    shown = [button.proto for button in app.get("download_button") if button.proto.label == "Bundle (.zip)"]
    assert [(button.disabled, button.id != enabled[0].id) for button in shown] == [(True, True)]
    assert "sparsity 0.5" in texts(app)


def test_parts_that_are_drawn_together_share_one_snapshot_of_the_jobs(fake: Any) -> None:
    recipe = recipe_from_dict({"model": "digits_resnet", "dataset": "digits", "steps": []})
    plan = make_plan(recipe, fake.techniques(), together=False)
    tracker = Tracker()
    tracker.follow(plan, fake)
    view = View(fake, tracker, plan, fake.techniques())
    before = view.statuses()
    fake.finish()
    assert view.statuses() is before
    view.cancel()
    assert {status.state for status in view.statuses().values()} == {"done"}
