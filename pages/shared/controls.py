"""Widgets of a technique, generated from its knobs. Every widget is bound to the URL under its own key."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from compression.service import InputError, Knob, Technique, default_of, knobs_of
from pages.shared.formats import knob_label
from pages.shared.technique_help import help_button
from pages.shared.url.bound import bound
from pages.shared.url.state import knob_key

_MANY_STEPS = 1000
Further = Mapping[str, Sequence[str]]


def technique_controls(technique: Technique, further: Further) -> dict[str, Any] | None:
    """A technique's toggle and, when it is on, its knobs.

    Args:
        technique: The technique.
        further: What the chosen model adds to the choices of knobs, by kind ("students").

    Returns:
        Its knob values, or None when it is off or its knobs contradict each other (then said so).
    """
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"head-{technique.key}"):
        on = st.toggle(technique.title, **bound(technique.key), width="stretch")
        help_button(technique)
    if not on:
        return None
    knobs = knobs_of(technique.config_type)
    values = {name: _widget(technique, name, knob, further) for name, knob in knobs.items() if not knob.advanced}
    advanced = {name: knob for name, knob in knobs.items() if knob.advanced}
    if advanced:
        with st.expander("More settings", key=f"more-{technique.key}"):
            values |= {name: _widget(technique, name, knob, further) for name, knob in advanced.items()}
    needs = f" \u00b7 needs {', '.join(sorted(technique.needs))}" if technique.needs else ""
    st.caption(f"[{technique.paper}]({technique.paper_url}){needs}")
    try:
        technique.config_type(**values)
    except InputError as error:
        st.error(str(error))
        return None
    return values


def _widget(technique: Technique, name: str, knob: Knob, further: Further) -> Any:
    key, default = knob_key(technique.key, name), default_of(technique.config_type, name)
    common: dict[str, Any] = {
        "label": knob_label(name, knob), "help": knob.help, "persist_state": "session", **bound(key),
    }
    return knob_widget(knob, default, common, further)


def knob_widget(knob: Knob, value: Any, common: dict[str, Any], further: Further) -> Any:
    """One knob's widget, at a value.

    Args:
        knob: The knob.
        value: What it shows first.
        common: Arguments of every widget: "label", "key", "help" and so on.
        further: What the chosen model adds to the choices of knobs, by kind.
    """
    if knob.choices is None:
        return _range(knob, value, common)
    return _choice([*knob.choices, *further.get(knob.further, ())], value, common)


def _choice(options: list[Any], default: Any, common: dict[str, Any]) -> Any:
    if st.session_state.get(common["key"], default) not in options:  # of the model that was chosen before
        del st.session_state[common["key"]]
    if len(options) > 2 and all(isinstance(o, int | float) and not isinstance(o, bool) for o in options):
        return st.select_slider(options=options, value=default, **common)
    return st.selectbox(options=options, index=options.index(default), **common)


def _range(knob: Knob, default: Any, common: dict[str, Any]) -> Any:
    if isinstance(default, bool):
        return st.toggle(value=default, **common)
    if knob.low is None or knob.high is None:
        return st.number_input(value=default, **common) if isinstance(default, int | float) else default
    if isinstance(default, int):
        low, high, step = int(knob.low), int(knob.high), int(knob.step or 1)
    else:
        low, high, step = float(knob.low), float(knob.high), float(knob.step or (knob.high - knob.low) / 100)
        common["format"] = f"%.{_decimals(step)}f"
    if (high - low) / step > _MANY_STEPS:
        return st.number_input(min_value=low, max_value=high, value=default, step=step, **common)
    return st.slider(min_value=low, max_value=high, value=default, step=step, **common)


def _decimals(step: float) -> int:
    shown = f"{step:.10f}".rstrip("0")
    return len(shown.split(".")[1])

