"""What a page shows where its code fails: one line and a way on, never a traceback."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from compression.service import InputError
from pages.shared import backend
from pages.shared.failures import failure_line


def _fails(*args: object, **kwargs: object) -> None:
    raise KeyError("no such $thing$")


def test_a_failing_page_says_what_failed_and_can_be_reloaded(
    app: AppTest, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(fake, "techniques", _fails)
        app.run()
    (error,) = app.error
    assert error.value == "Explore failed: KeyError: 'no such \\$thing\\$'. The server's log has the details."
    assert not app.exception, "not Streamlit's box"
    (reload,) = [button for button in app.button if button.label == "Reload"]
    reload.click().run()
    assert not app.error
    assert app.selectbox(key="model").value == "digits_resnet"


def test_a_failing_part_leaves_the_others(app: AppTest, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.explore.summary.baseline_line", _fails)
    app.run()
    fake.finish()
    app.run()
    (error,) = app.error
    assert error.value.startswith("The summary failed: KeyError")
    assert app.selectbox(key="left-axis").value == "size_bytes"
    assert len(app.get("plotly_chart")) == 2, "the plots are drawn"
    assert not app.exception


def test_a_service_that_does_not_start_is_reported(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise InputError("COMPRESSION_HOME", "/nowhere", "a folder that can be written is needed")

    monkeypatch.setattr(backend, "service", broken)
    app.run()
    assert "COMPRESSION\\_HOME" in app.error[0].value
    assert not app.exception


def test_a_failure_is_one_line_without_markup() -> None:
    line = failure_line("Search", ValueError("a\nb * " + "x" * 1000))
    assert "\n" not in line
    assert line.startswith("Search failed: ValueError: a b \\* x")
    assert len(line) < 400
