"""A picker that pins a run: rows of a table and points of a plot cannot be chosen by the keyboard."""

from collections.abc import Callable, Collection, Sequence

import streamlit as st

from compression.service import ExperimentResult
from pages.shared.comparison import dataset_name, differ_in_data
from pages.shared.formats import run_name, told_apart
from pages.shared.pins import toggle_clicked

_MOST = 200
_KEY = "pin-one"


def pick_pin(listed: Sequence[ExperimentResult], pinned: Collection[str], changed: Callable[[], None]) -> None:
    """Ask for one run to pin, among the first ones listed that are not pinned.

    Args:
        listed: The listed runs, in their order.
        pinned: Keys of the pinned ones.
        changed: Called after another one was pinned.
    """
    free, several = [own for own in listed if own.key not in pinned][:_MOST], differ_in_data(listed)
    names = told_apart({
        own.key: f"{own.model_name}: {run_name(own, dataset_name(own) if several else '')}" for own in free
    })

    def take() -> None:
        key, st.session_state[_KEY] = st.session_state[_KEY], None
        if key is not None:
            toggle_clicked(key)
            changed()

    first = f"The first {_MOST} of those listed; narrow them by the filters. " if len(free) == _MOST else ""
    st.selectbox(
        "Pin a run", list(names), index=None, format_func=lambda key: names.get(key, key), key=_KEY, on_change=take,
        placeholder="type words of its recipe", help=first + "The same as to choose its row or point", width=420,
    )
