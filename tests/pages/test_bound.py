"""What keeps the address true to the widgets that stand in it."""

import pytest
from streamlit.errors import StreamlitAPIException
from streamlit.testing.v1 import AppTest

from pages.shared.url.bound import Left, put_for_widgets


def _app() -> None:
    import streamlit as st

    from pages.shared.url.bound import bound, kept_address

    with kept_address("here"):
        st.segmented_control("Show", ["a", "b"], default="a", **bound("show"))
        st.selectbox("Item", ["x", "y"], **bound("item"))
        if st.session_state.pop("again", False):
            st.rerun()


@pytest.fixture
def app() -> AppTest:
    """Drawn once, with the second item in the address."""
    app = AppTest.from_function(_app)
    app.query_params["item"] = "y"
    return app.run()


def _address(app: AppTest) -> dict[str, str]:
    return {name: app.query_params[name] for name in app.query_params}


def test_a_choice_that_the_address_has_lost_is_put_there_again(app: AppTest) -> None:
    app.segmented_control(key="show").set_value("b")  # the browser would have put it into the address
    app.run()
    assert _address(app) == {"item": "y", "show": "b"}


def test_an_address_overwritten_by_an_older_one_is_said_again(app: AppTest) -> None:
    del app.query_params["item"]  # and the widget still says what it said
    app.run()
    assert app.selectbox(key="item").value == "y"
    assert _address(app) == {"item": "y"}


def test_a_choice_that_the_address_knows_of_is_left_alone(app: AppTest) -> None:
    app.selectbox(key="item").set_value("x")
    del app.query_params["item"]
    app.run()
    assert app.selectbox(key="item").value == "x"
    assert _address(app) == {}


def test_after_a_redraw_that_was_cut_off_the_whole_address_is_said(app: AppTest) -> None:
    left: Left = app.session_state["address-left"]
    assert left.repeated < 0
    app.run()
    assert left.repeated < 0
    app.session_state["again"] = True
    app.run()
    assert not left.cut_off
    assert left.repeated > 0


def test_a_value_and_its_address_change_together() -> None:
    left = Left("here", {"show": ("a", None)})
    assert left.lost("here", {"show": ("b", None)}) == ["show"]
    assert left.lost("here", {"show": ("a", "b")}) == ["show"]
    assert left.lost("here", {"show": ("b", "b")}) == []
    assert left.lost("here", {"show": ("a", None)}) == []
    assert left.lost("elsewhere", {"show": ("b", None)}) == []


@pytest.mark.parametrize(("cut_off", "after", "expected"), [(True, 9.0, True), (False, 0.5, True), (False, 2.0, False)])
def test_an_older_address_may_be_on_its_way(cut_off: bool, after: float, expected: bool) -> None:
    left = Left(cut_off=cut_off, repeated=100.0)
    assert left.may_be_overwritten(100.0 + after) is expected


class _Address(dict[str, str]):
    """Counts what is sent to the browser, and refuses what is bound to a widget on the page."""

    def __init__(self, taken: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.taken, self.sent = taken, 0

    def __setitem__(self, name: str, text: str) -> None:
        self.update({name: text})

    def update(self, texts: dict[str, str]) -> None:  # type: ignore[override]
        if {*texts} & {*self.taken}:
            raise StreamlitAPIException("bound")
        super().update(texts)
        self.sent += 1


@pytest.mark.parametrize(("taken", "expected"), [((), 1), (("a",), 2)])
def test_values_of_many_widgets_are_one_step_of_back(
    taken: tuple[str, ...], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = _Address(taken)
    monkeypatch.setattr("streamlit.query_params", address)
    put_for_widgets({"a": "1", "b": "2", "c": "3"})
    put_for_widgets({})
    assert address == {name: text for name, text in (("a", "1"), ("b", "2"), ("c", "3")) if name not in taken}
    assert address.sent == expected
