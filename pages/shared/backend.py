"""The one application service, shared by all sessions of a server."""

from typing import TYPE_CHECKING

import streamlit as st

ENTERED = "entered"

if TYPE_CHECKING:
    from compression.service import Service


def _close(service: "Service") -> None:
    service.close()


@st.cache_resource(show_spinner="Starting the measuring workers ...", on_release=_close)
def service() -> "Service":
    """The service with its worker processes; started once.

    The workers come first: they import torch while this process does.
    """
    from compression.service import Engine, home

    engine = Engine(home())
    from compression.service import Service

    return Service(engine=engine)


def enter_by_app() -> None:
    """Leave a page that runs without ``app.py`` around it, and come back through it.

    Before the first ``st.navigation`` of a server, Streamlit takes the folder named ``pages`` for its older kind of
    application and runs a page that is asked for by its address on its own. That run has set the navigation up.
    """
    if not st.session_state.get(ENTERED):
        st.session_state[ENTERED] = True
        st.rerun()
