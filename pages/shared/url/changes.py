"""Changes of many widgets at once (an import, a preset, undo), none of which may be lost to a redraw.

A redraw can start at any time with what the browser said before it knew of a change, and it cuts a callback off that
is still running. So a change is one record in the session's state: it is put into the widgets when a redraw begins, and
put there again where a redraw was cut off, or came from a browser that had not taken it over yet.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from pages.shared.url.bound import put_for_widgets
from pages.shared.url.state import TEXTS, in_address

_CHANGE, _NOTICE = "asked-change", "notice"
_KEPT_SECONDS = 2.5


@dataclass(frozen=True)
class Change:
    """Values that widgets are to take.

    Attributes:
        values: By key of the widget.
        before: What the widgets on the page said when it was asked for, of those that it alters.
        drawn: When the widgets had been drawn with it, on the monotonic clock; None before that.
    """

    values: Mapping[str, Any]
    before: Mapping[str, Any]
    drawn: float | None = None

    def due(self, now: Mapping[str, Any], clock: float) -> bool:
        """Whether it has to be put into the widgets, given what they say.

        After it was drawn it is due again where all of them say what they said before: the browser sent this before
        it knew. A person would need longer to take everything back.
        """
        if self.drawn is None:
            return True
        unknown = bool(self.before) and all(now.get(key) == value for key, value in self.before.items())
        return unknown and clock - self.drawn < _KEPT_SECONDS


def ask(values: Mapping[str, Any]) -> None:
    """Have widgets take other values in the redraw that follows, or that is just beginning."""
    state = st.session_state
    before = {key: state[key] for key, value in values.items() if _is_shown(key) and state[key] != value}
    state[_CHANGE] = Change(dict(values), before)


def settle() -> None:
    """Put a change that was asked for into the widgets; called before any of them is drawn."""
    change: Change | None = st.session_state.get(_CHANGE)
    if change is None:
        return
    now = {key: st.session_state.get(key) for key in change.before}
    if change.due(now, time.monotonic()):
        _put(change.values)
    else:
        del st.session_state[_CHANGE]


def is_pending() -> bool:
    """Whether a change is under way, so that the address may still say what was before it."""
    return _CHANGE in st.session_state


def drawn() -> None:
    """Note that the widgets have been drawn with what was asked for."""
    change: Change | None = st.session_state.get(_CHANGE)
    if change is not None and change.drawn is None:
        st.session_state[_CHANGE] = replace(change, drawn=time.monotonic())


def _is_shown(key: str) -> bool:
    technique, dot, _ = key.partition(".")
    return key in st.session_state and key not in TEXTS and (not dot or bool(st.session_state.get(technique)))


def _put(values: Mapping[str, Any]) -> None:
    """Set widgets. Those on the page take their new value to the address themselves; one that will be drawn for the
    first time does not, so its value is put there for it."""
    first = {}
    for key, value in values.items():
        technique, dot, _ = key.partition(".")
        if dot and values.get(technique) and not st.session_state.get(technique):
            first[key] = in_address(value)
    put_for_widgets(first)
    state = st.session_state
    state.update({key: value for key, value in values.items() if key not in state or state[key] != value})


def tell(text: str, kind: str = "success") -> None:
    """Say something at the head of the page until it is dismissed: "success", "info", "warning" or "error"."""
    st.session_state[_NOTICE] = (kind, text)


def show_notice() -> None:
    """What was told, with a button that takes it away."""
    if _NOTICE not in st.session_state:
        return
    kind, text = st.session_state[_NOTICE]
    with st.container(horizontal=True, vertical_alignment="center", key="notice"):
        {"success": st.success, "info": st.info, "warning": st.warning, "error": st.error}[kind](text)
        st.button(
            "Dismiss", key="dismiss", type="tertiary", icon=":material/close:",
            on_click=lambda: st.session_state.pop(_NOTICE, None),
        )
