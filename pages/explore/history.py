"""What the sliders said before: undo and redo."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from compression.service import Technique
from pages.explore.limits import LIMITS
from pages.shared.url.changes import ask
from pages.shared.url.state import DATA, MODEL, TEXTS, recipe_widgets

_HISTORY = "history"
_LONGEST = 100
_ONE_GESTURE_SECONDS = 1.0
_VIEW = ("left-axis", "right-axis", "log", "objective", *(limit.key for limit in LIMITS))
Values = Mapping[str, Any]


@dataclass(frozen=True)
class History:
    """States of the widgets in the order in which they were seen.

    Attributes:
        entries: The states, oldest first.
        place: Which of them is shown now.
        recorded: When the last one was added, on the monotonic clock.
    """

    entries: tuple[Values, ...] = ()
    place: int = -1
    recorded: float = 0.0

    @property
    def current(self) -> Values:
        """The state that is shown."""
        return self.entries[self.place]

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier state."""
        return self.place > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is a later state."""
        return self.place < len(self.entries) - 1

    def record(self, values: Values, now: float) -> "History":
        """With a new state behind the current one; what was undone is forgotten.

        A knob that moves on within a second (an arrow key held down) is one change.
        """
        if self.entries and not altered(values, self.current):  # an empty field is as good as none
            return self
        kept = self.entries[: self.place + 1]
        if self.can_undo and not self.can_redo and now - self.recorded < _ONE_GESTURE_SECONDS:
            moved = altered(kept[-2], kept[-1])
            if len(moved) == 1 and "." in next(iter(moved)) and altered(kept[-1], values) == moved:
                kept = kept[:-1]
        entries = (*kept, values)[-_LONGEST:]
        return History(entries, len(entries) - 1, now)

    def moved(self, steps: int) -> "History":
        """At an earlier or later state, as far as there is one."""
        return replace(self, place=min(max(self.place + steps, 0), len(self.entries) - 1), recorded=0.0)


def altered(before: Values, after: Values) -> set[str]:
    """Keys whose values differ."""
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}


def described(before: Values, after: Values) -> str:
    """A change in few words, for the buttons: its first two keys."""
    keys = sorted(altered(before, after), key=lambda key: ("." in key, key))
    if MODEL in keys:  # brings its dataset with it
        keys = [key for key in keys if key != DATA]
    names = ["dataset" if key == DATA else key.replace("_", " ").replace("-", " ").replace(".", ", ") for key in keys]
    return "; ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def shown_values(techniques: Sequence[Technique]) -> dict[str, Any]:
    """What the widgets that make the recipe and set limits and axes say now."""
    state = st.session_state
    texts = {key: state.get(key, st.query_params.get(key, "")) for key in TEXTS}
    return recipe_widgets(state, techniques) | texts | {key: state[key] for key in _VIEW if key in state}


def record(techniques: Sequence[Technique]) -> History:
    """Take down what the widgets say; called when all of them have been drawn."""
    before: History = st.session_state.get(_HISTORY, History())
    history = before.record(shown_values(techniques), time.monotonic())
    if history is not before:
        st.session_state[_HISTORY] = history
    return history


def show_buttons(history: History) -> None:
    """Undo and redo."""
    back, forth = "", ""
    if history.can_undo:
        back = "Takes back: " + described(history.entries[history.place - 1], history.current)
    if history.can_redo:
        forth = "Brings back: " + described(history.current, history.entries[history.place + 1])
    st.button(
        "Undo", key="undo", icon=":material/undo:", disabled=not history.can_undo, on_click=_step, args=(-1,),
        help=back or "Nothing has been changed yet",
    )
    st.button(
        "Redo", key="redo", icon=":material/redo:", disabled=not history.can_redo, on_click=_step, args=(1,),
        help=forth or "Nothing was undone",
    )


def _step(steps: int) -> None:
    history: History = st.session_state[_HISTORY].moved(steps)
    ask(history.current)
    st.session_state[_HISTORY] = history
