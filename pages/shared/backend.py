"""The one application service, shared by all sessions of a server."""

from typing import TYPE_CHECKING

import streamlit as st

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
