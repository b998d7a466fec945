"""Widgets that stand in the address under their own key, and what keeps the address true to them.

Whatever sets a part of the address sends all of it, as it was when that redraw began. What somebody changes in the
meantime stands in the browser's address already, and is overwritten there; nothing would put it back.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import streamlit as st
from streamlit.errors import StreamlitAPIException
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.shared.url.choice import LATE_SECONDS

_BOUND, _LEFT, _WRITTEN = "bound-keys", "address-left", "address-written"
_HEARD_SECONDS = 1.0
Said = Mapping[str, tuple[object, str | None]]


class Binding(TypedDict):
    """Arguments that bind a widget to the address."""

    key: str
    bind: Literal["query-params"]


@dataclass
class Left:
    """How the last redraws left the bound widgets and the address. It is changed in place, as the session cannot be
    reached where a redraw is cut off; no Streamlit in this class.

    Attributes:
        page: Path of the page.
        said: By key of a widget: its value, and what the address said of it.
        cut_off: Whether the last redraw did not come to its end, having set who knows what in the address.
        repeated: When all of the address was said again, on the monotonic clock.
    """

    page: str = ""
    said: Said = field(default_factory=dict)
    cut_off: bool = False
    repeated: float = -LATE_SECONDS

    def lost(self, page: str, now: Said) -> list[str]:
        """Keys that the address has lost: the value of a widget and its address change together, or neither does."""
        return [
            key for key, (value, text) in now.items()
            if page == self.page and (value != self.said[key][0]) != (text != self.said[key][1])
        ]

    def may_be_overwritten(self, clock: float) -> bool:
        """Whether an address may be on its way to the browser that is older than the browser's own."""
        return self.cut_off or clock - self.repeated < _HEARD_SECONDS


def bound(key: str) -> Binding:
    """Arguments of a widget whose value stands in the address under its key."""
    st.session_state.setdefault(_BOUND, set()).add(key)
    return {"key": key, "bind": "query-params"}


def by_history() -> bool:
    """Whether this redraw comes from the browser's Back or Forward: then the address is meant as it is."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def put_for_widget(key: str, text: str) -> None:
    """Put a value into the address for a widget that will be drawn for the first time; it does not do so itself."""
    put_for_widgets({key: text})


def put_for_widgets(texts: Mapping[str, str]) -> None:
    """Put the values of several such widgets into the address at once: every address is a step of the browser's Back.

    Args:
        texts: By key of the widget.
    """
    try:
        if texts:
            st.query_params.update(texts)
    except StreamlitAPIException:  # one of them is on the page, and does it itself
        for key, text in texts.items():
            with suppress(StreamlitAPIException):
                st.query_params[key] = text


def wrote(name: str, before: str | None) -> None:
    """Note that a part of the address was just set, and what it said before that."""
    st.session_state.setdefault(_WRITTEN, {})[name] = before, time.monotonic()


@contextmanager
def kept_address(page: str) -> Iterator[None]:
    """Around the drawing of a page: what its address has lost of its bound widgets is put there again.

    Args:
        page: Path of the page.
    """
    state, start = st.session_state, st.query_params.to_dict()
    left: Left = state.setdefault(_LEFT, Left())
    for key in left.lost(page, _said(left.said)):
        state[key] = state[key]  # what is set by code is put into the address
    again = left.may_be_overwritten(time.monotonic()) or _is_outdated(start)
    state[_BOUND] = set()
    left.cut_off = True
    yield
    if again:
        st.query_params.update({})
        left.repeated = time.monotonic()
    end = st.query_params.to_dict()
    for name in {*start, *end}:
        if start.get(name) != end.get(name):
            wrote(name, start.get(name))
    left.page, left.said, left.cut_off = page, _said(state[_BOUND]), False


def _is_outdated(address: Mapping[str, str]) -> bool:
    """Whether the browser had not heard of what was written to the address just before."""
    now, written = time.monotonic(), st.session_state.get(_WRITTEN, {})
    return any(address.get(name) == before and now - since < LATE_SECONDS for name, (before, since) in written.items())


def _said(keys: Iterable[str]) -> Said:
    state = st.session_state
    return {key: (state[key], st.query_params.get(key)) for key in keys if key in state}
