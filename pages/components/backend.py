"""The one application service, shared by all sessions of a server."""

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from compression.experiments import Service


def _close(service: "Service") -> None:
    service.close()


@st.cache_resource(show_spinner="Starting the measuring workers ...", on_release=_close)
def service() -> "Service":
    """The service with its worker processes; started once."""
    from compression.experiments import Service

    return Service()
