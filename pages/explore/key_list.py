"""Choosing several things whose keys stand in the address, while people see their titles.

A widget bound to the address by Streamlit would write what people see there. So it is bound by hand: address and widget
are read when a redraw begins, as either can be older than the other (see `choice`).
"""

import time
from collections.abc import Mapping

import streamlit as st

from pages.shared.url.changes import tell
from pages.shared.url.choice import Choice


def pick_keys(label: str, name: str, titles: Mapping[str, str], **look: str) -> list[str]:
    """Ask for several.

    Args:
        label: What is asked for.
        name: Key of the widget, and its name in the address.
        titles: What can be chosen: keys with their titles. An address may name either.
        look: Further arguments of the widget.

    Returns:
        The chosen keys, in the order in which they were chosen.
    """
    state, now, widget = st.session_state, time.monotonic(), f"{name}-widget"
    said: dict[str, str | None] = {name: _address(name), widget: ",".join(state[name]) if name in state else None}
    before: Choice = state.get(f"{name}-shown", Choice({}, {}, 0.0))
    news = before.news(said, now)
    asked = news.get(widget, news.get(name, before.shown.get(name, "")))
    by_title = {title: key for key, title in titles.items()}
    names = [by_title.get(own, own) for own in asked.split(",") if own]
    wrong = [own for own in names if own not in titles]
    if wrong:
        tell(f"{name}: {', '.join(map(repr, wrong))} is not allowed; allowed: {', '.join(titles)}", "warning")
    chosen = [own for own in dict.fromkeys(names) if own in titles]
    text = ",".join(chosen)
    if news or before.shown.get(name) != text:
        state[f"{name}-shown"] = Choice({name: text, widget: text}, said, now)
    if state.get(name, []) != chosen:
        state[name] = chosen
    if not text:
        st.query_params.pop(name, None)
    elif said[name] != text:
        st.query_params[name] = text
    return st.multiselect(label, list(titles), format_func=lambda key: titles.get(key, key), key=name, **look)


def _address(name: str) -> str | None:
    """What the address says, with commas; None if it says nothing. It may name each with a parameter of its own."""
    values = st.query_params.get_all(name)
    return ",".join(values) if values else None
