"""What can be done with a search: open and leave it, have it do something, take a trial to Explore."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.search.records import SearchRecord, TrialRecord
from compression.service import InputError, has_weights, recipe_from_dict
from pages.search import form
from pages.shared.exchange import address_values
from pages.shared.url.address import get, put
from pages.shared.url.state import MODEL, POINT, widget_values

if TYPE_CHECKING:
    from compression.service import Service

SEARCH, LEAVING = "search", "leaving-for-explore"
_TROUBLE = "search-trouble"


def button(
    label: str, key: str, icon: str, action: Callable[[], object], *, primary: bool = False, disabled: bool = False
) -> None:
    """A button whose action runs before the next drawing; one that only looked at it would miss a click that falls
    into a redraw."""
    st.button(
        label, key=f"search-{key}", icon=icon, on_click=partial(_attempt, action), disabled=disabled,
        type="primary" if primary else "secondary",
    )


def _attempt(action: Callable[[], object]) -> None:
    try:
        action()
    except InputError as error:
        st.session_state[_TROUBLE] = str(error)


def show_trouble() -> None:
    """Why the last action was refused, once."""
    trouble = st.session_state.pop(_TROUBLE, None)
    if trouble:
        st.error(trouble)


def open_search(name: str) -> None:
    """Show a search; its name is the address."""
    st.session_state[SEARCH] = name
    put(SEARCH, name)
    select_trial("")


def leave() -> None:
    """Show the form and the list again."""
    st.session_state[SEARCH] = ""
    put(SEARCH, "")
    select_trial("")


def selected_trial() -> str:
    """Key of the trial in focus, empty where none is."""
    return get(POINT, SEARCH)


def select_trial(key: str) -> None:
    """Put a trial in focus, or none; it is part of the address."""
    put(POINT, key, SEARCH)


def ask_again(record: SearchRecord) -> None:
    """Show the form, filled with what this search asked for."""
    form.fill(record.spec)
    leave()


def delete(service: "Service", name: str) -> None:
    """Forget a search and show the list."""
    service.searches.delete(name)
    leave()


def ease(service: "Service", name: str) -> None:
    """Begin a search with the nearest limits that something measured keeps, and show it."""
    open_search(service.searches.ease(name))


def leave_for_explore(service: "Service", trial: TrialRecord) -> None:
    """Have Explore show a trial's recipe, once the page is drawn again."""
    names = [info.name for info in service.models() if has_weights(info.name)]
    st.session_state[LEAVING] = widget_values(recipe_from_dict(trial.recipe), names, service.techniques())


def go_on_to_explore() -> None:
    """Leave with what a callback has put down: values that are a widget's default are kept in the session's state,
    the others in the address too."""
    values = st.session_state.pop(LEAVING, None)
    if values is not None:
        st.session_state.update({key: value for key, value in values.items() if key != MODEL})
        st.switch_page("explore/explore.py", query_params=address_values(values))
