"""The curve of a training on the page: while it runs, and beside its result."""

from dataclasses import replace
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from compression.experiments.results import ACCURACY
from compression.service import TrainingRecord
from pages.explore.training import training_figure

HISTORY = (
    {"epoch": 0.0, "held_out_loss": 2.0, "accuracy": 0.5, "agreement": 0.5},
    {"epoch": 1.0, "loss": 1.5, "held_out_loss": 1.0, "accuracy": 0.9, "agreement": 0.92},
    {"epoch": 2.0, "loss": 1.0, "held_out_loss": 1.2, "accuracy": 0.8, "agreement": 0.85},
)
RECORD = TrainingRecord("distillation", 4, 2.0, 1.0, HISTORY)


def test_the_figure_shows_the_curve_and_the_state_that_was_kept() -> None:
    traces = {trace.name: trace for trace in training_figure(RECORD, ACCURACY).data}
    assert list(traces["Accuracy"].y) == [50.0, 90.0, 80.0]
    assert list(traces["Agreement with the teacher"].x) == [0.0, 1.0, 2.0]
    assert (list(traces["Training loss"].x), list(traces["Training loss"].y)) == ([1.0, 2.0], [1.5, 1.0])
    assert traces["Training loss"].yaxis == "y2"
    assert (traces["Kept"].x, traces["Kept"].y) == ((1.0,), (90.0,))
    assert training_figure(RECORD, ACCURACY).layout.xaxis.range == (0, 4)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_training_that_has_only_begun_can_be_drawn(theme: Any) -> None:
    figure = training_figure(replace(RECORD, history=HISTORY[:1], kept_epoch=0.0), ACCURACY, theme)
    assert [len(trace.x) for trace in figure.data] == [1, 1, 0, 1]


def test_a_running_training_can_be_ended_with_its_best_state(app: AppTest, fake: Any) -> None:
    app.query_params["distillation"] = "true"
    app.run()
    fake.finish(1)
    key = next(key for key, state in fake.states.items() if state == "queued")
    fake.states[key], fake.trainings[key] = "running", RECORD
    app.run()
    assert any("epoch 2 of 4, accuracy 80.0 %" in caption.value for caption in app.caption)
    app.button(key=f"finish-early-{key}").click().run()
    assert fake.finished_early == [key]
    assert not app.exception


def test_several_points_may_train_at_once(app: AppTest, fake: Any) -> None:
    app.query_params["distillation"] = "true"
    app.run()
    fake.finish(1)
    keys = [key for key, state in fake.states.items() if state == "queued"][:3]
    for key in keys:
        fake.states[key], fake.trainings[key] = "running", RECORD
    app.run()
    assert not app.exception
    assert not app.error
    for key in keys:
        app.button(key=f"finish-early-{key}").click().run()
    assert fake.finished_early == keys


def test_a_result_that_was_stopped_early_says_so_and_can_be_trained_on(
    app: AppTest, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = type(fake).result
    monkeypatch.setattr(
        type(fake), "result",
        lambda self, key: None if own(self, key) is None else replace(own(self, key), trainings=(RECORD,)),
    )
    app.query_params["distillation"] = "true"
    app.run()
    fake.finish()
    app.run()
    assert any("stopped early" in warning.value for warning in app.warning)
    app.button(key="train-whole").click().run()
    assert len(fake.trained_whole) == 1
    assert not app.exception


def test_the_students_of_the_model_are_offered(app: AppTest, fake: Any) -> None:
    app.query_params.update({"distillation": "true", "distillation.student": "half_width"})
    app.run()
    assert app.selectbox(key="distillation.student").value == "half_width"
    assert {"half_depth", "self", "half_width", "digits_mobilenet"} <= set(
        app.selectbox(key="distillation.student").options
    )
    wanted = [recipe for recipe, _ in fake.submitted if recipe.steps]
    assert wanted[0].steps[0].config.student == "half_width"
    app.selectbox(key="distillation.student").set_value("digits_mobilenet").run()
    app.selectbox(key="model").set_value("digits_mobilenet").run()
    offered = app.selectbox(key="distillation.student")
    assert "digits_mobilenet" not in offered.options, "a model is no student of itself"
    assert offered.value in offered.options
    assert not app.exception
