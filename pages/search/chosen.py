"""The selected trial of a search as an ordinary result, and the ways on from it."""

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.search.records import SearchRecord, TrialRecord
from compression.service import InputError, recipe_from_dict
from pages.search.actions import button, leave_for_explore, select_trial, selected_trial
from pages.shared.cards import show_cards
from pages.shared.formats import recipe_label, recipe_lines
from pages.shared.pins import MOST_PINS, PINS, pin, pins, unpin
from pages.shared.url.current import set_current
from pages.shared.url.state import RESULT

if TYPE_CHECKING:
    from compression.service import Service


def show_chosen(service: "Service", record: SearchRecord) -> None:
    """The selected trial as an ordinary result: its cards, and the ways on."""
    key = selected_trial()
    trial = next((own for own in record.trials if own.key == key), None)
    if trial is None:
        if record.front:
            st.caption("Click a point or choose a row of the front to see, pin, open or export it.")
        _show_pins(record)
        return
    with suppress(InputError):  # of an earlier version
        set_current(recipe_from_dict(trial.recipe))
    with st.container(border=True, key="chosen-trial"):
        st.markdown(f"**Trial {trial.number}** \u2014 {recipe_label(trial.recipe)}")
        result = service.result(trial.key)
        if result is None:
            st.caption(trial.error or "It has no result yet.")
        else:
            show_cards(result, key="cards-trial")
            st.caption(
                "These cards are the test split's figures"
                + ("." if result.stage == "full" else ", so far from a part of it: its intervals are still wide.")
            )
            promise = record.promises.get(trial.key)
            if promise is not None:
                show = st.success if promise.kept else st.warning
                show(f"Promise: {promise.text}.", icon=":material/verified:" if promise.kept else ":material/help:")
            _show_actions(service, trial)
        with st.expander("The whole recipe", key="trial-recipe"):
            st.markdown("\n".join(f"- {line}" for line in recipe_lines(trial.recipe)))
    _show_pins(record)


def _show_actions(service: "Service", trial: TrialRecord) -> None:
    pinned = pins()
    with st.container(horizontal=True, vertical_alignment="center", key="trial-actions"):
        if trial.key in pinned:
            button("Unpin", "pin", ":material/keep_off:", partial(unpin, trial.key))
        else:
            full = len(pinned) >= MOST_PINS
            button("Pin", "pin", ":material/push_pin:", partial(pin, trial.key), disabled=full)
        button("Open in Explore", "explore", ":material/explore:", partial(leave_for_explore, service, trial))
        st.page_link(
            "export/export.py", label="Export ...", icon=":material/ios_share:", query_params={RESULT: trial.key},
            help="Files, report, model card, other runtimes, and what reproduces it",
        )
        button("Clear selection", "clear", ":material/close:", partial(select_trial, ""))


def _show_pins(record: SearchRecord) -> None:
    """What is pinned, and the way to its comparison."""
    pinned = pins()
    if not pinned:
        return
    numbers = {trial.key: f"trial {trial.number}" for trial in record.trials}
    with st.container(horizontal=True, vertical_alignment="center", key="pinned"):
        st.markdown("Pinned: " + ", ".join(numbers.get(key, key[:8]) for key in pinned), width="content")
        st.page_link(
            "compare/compare.py", label="Compare them", icon=":material/compare_arrows:",
            disabled=len(pinned) < 2, query_params={PINS: ",".join(pinned)}, help=f"2 to {MOST_PINS} side by side",
        )
