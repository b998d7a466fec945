"""A picker that pins a run: rows of a table and points of a plot cannot be chosen by the keyboard."""

from collections.abc import Callable, Collection

import pandas as pd
import streamlit as st

from pages.components.formats import told_apart
from pages.components.pins import toggle_clicked

_MOST = 200
_KEY = "pin-one"


def pick_pin(table: pd.DataFrame, pinned: Collection[str], changed: Callable[[], None]) -> None:
    """Ask for one run to pin, among the first ones listed that are not pinned.

    Args:
        table: The listed runs, as `run_table` makes it.
        pinned: Keys of the pinned ones.
        changed: Called after another one was pinned.
    """
    free = table[~table.index.isin(list(pinned))].head(_MOST)
    names = told_apart({
        str(key): f"{model}: {recipe} ({accuracy:.2f} %, {size:.0f} kB)"
        for key, model, recipe, accuracy, size in zip(
            free.index, free["model"], free["recipe"], free["accuracy %"], free["packed kB"], strict=True
        )
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
