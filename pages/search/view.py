"""One search on the page, drawn anew while it runs."""

from typing import TYPE_CHECKING

import streamlit as st

from compression.search.records import SearchRecord
from pages.search.actions import LEAVING, SEARCH
from pages.search.chosen import show_chosen
from pages.search.head import show_head, show_numbers, show_running, show_state
from pages.search.trials import show_course, show_front, show_plots

if TYPE_CHECKING:
    from compression.service import Service

_PACE = 1.0


def pace_of(record: SearchRecord) -> float | None:
    """Seconds between two looks; None where nothing can change by itself."""
    return _PACE if record.state == "running" else None


def show_search(service: "Service", name: str, every: float | None) -> None:
    """Draw it; a fragment's body.

    Args:
        service: The application.
        name: Of the search.
        every: The pace at which the fragment runs; the page is drawn anew when it has to begin or end.
    """
    record = service.searches.read(name)
    if record is None or st.session_state.get(LEAVING) or st.session_state.get(SEARCH) != name:
        st.rerun()
    if (pace_of(record) is None) != (every is None):
        st.rerun()
    show_head(service, record)
    show_state(service, record)
    show_numbers(record)
    if record.state == "running" and record.running:
        show_running(service, record)
    if record.baseline is None and not record.trials:
        return
    show_plots(service, record)
    show_chosen(service, record)
    show_front(service, record)
    show_course(service, record)
