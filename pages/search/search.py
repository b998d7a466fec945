"""Search: say what a model must keep, and have the recipes found that keep it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.search.records import SearchSummary
from compression.service import InputError, ModelInfo, has_weights
from pages.search.actions import SEARCH, go_on_to_explore, open_search
from pages.search.form import MODEL as FOR_MODEL
from pages.search.form import show_form, use_model, worded
from pages.search.view import pace_of, show_search
from pages.search.words import STATE_LOOKS, STATE_TITLES, ago, asked
from pages.shared import backend
from pages.shared.failures import fragment
from pages.shared.url.address import get, put
from pages.shared.url.current import opens_with, set_current_model, settle_history

if TYPE_CHECKING:
    from compression.service import Service

_LISTED, _MORE = "searches-listed", 8


def page() -> None:
    """Draw the page."""
    st.subheader("Search", anchor=False)
    service = backend.service()
    go_on_to_explore()
    models = [info for info in service.models() if has_weights(info.name)]
    _open_with(service, models)
    name = get(SEARCH) or st.session_state.get(SEARCH, "")
    record = service.searches.read(name) if name else None
    if record is not None:
        st.session_state[SEARCH] = name
        set_current_model(record.spec.model, record.spec.dataset)
        put(SEARCH, name)
        every = pace_of(record)
        fragment(show_search, "The search", run_every=every)(service, name, every)
        return
    if name:
        st.warning(f"search: {name!r} is not here; it may have been deleted.")
        st.session_state[SEARCH] = ""
        put(SEARCH, "")
    if not models:
        st.error("No model can be loaded: train one with `python -m models.train digits_resnet`.")
        return
    _show_start(service, models)


def _open_with(service: "Service", models: Sequence[ModelInfo]) -> None:
    """The form opens with the model that the address names or that was shown before; so does the search in view."""
    try:
        recipe = opens_with("search", {SEARCH, FOR_MODEL}, service, {info.name: info for info in models})
    except InputError as error:
        st.warning(str(error))
        return
    if recipe is None:
        return
    record = service.searches.read(st.session_state.get(SEARCH) or "")
    if record is not None and (record.spec.model, record.spec.dataset) != (recipe.model, recipe.dataset):
        st.session_state[SEARCH] = ""
    use_model(recipe)
    settle_history()


def _show_start(service: "Service", models: Sequence[ModelInfo]) -> None:
    """The form beside the searches so far."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        spec = show_form(service, models)
    if spec is not None:
        task = next((info.task for info in models if info.name == spec.model), "")
        try:
            with st.spinner("Reading model and data ..."):
                name = service.searches.start(spec)
        except InputError as error:
            left.error(worded(error, task))
        else:
            open_search(name)
            st.rerun()
    with right:
        _show_list(service.searches.summaries())


def _show_list(searches: Sequence[SearchSummary]) -> None:
    st.markdown("**Earlier searches**")
    if not searches:
        st.caption("None yet. What you start is kept here, with all that it measures, also after a restart.")
        return
    shown = st.session_state.get(_LISTED, _MORE)
    now = datetime.now(UTC)
    for own in searches[:shown]:
        color, icon = STATE_LOOKS[own.state]
        with st.container(border=True, gap="small", key=f"search-{own.id}"):
            st.button(
                f"**{own.spec.model}** on {own.spec.dataset}: {asked(own.spec)}", key=f"open-{own.id}", type="tertiary",
                on_click=partial(open_search, own.id), width="stretch",
            )
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(STATE_TITLES[own.state], icon=icon, color=color)
                st.caption(ago(own.created, now), width="content")
    if len(searches) > shown:
        more = partial(st.session_state.update, {_LISTED: shown + _MORE})
        st.button(f"Show more of {len(searches)}", key="more-searches", on_click=more)


page()
