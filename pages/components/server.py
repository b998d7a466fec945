"""What ``make run`` starts: the dashboard of ``app.py`` with its workers, which start with the server.

A worker's imports take seconds; started here, they are over before the first page is asked for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from pages.components.namesake import join_compression

join_compression()
# A folder named pages is taken for Streamlit's older kind of application until app.py has run once: without this, a
# page that is asked for by its address before any other would be shown without the application around it.
PagesManager.uses_pages_directory = False


@asynccontextmanager
async def workers(app: st.App) -> AsyncIterator[None]:
    """Start the service that all sessions share, off the server's own thread, and close it at the end."""
    del app
    from pages.components import backend

    starting = asyncio.create_task(asyncio.to_thread(backend.service))
    yield
    (await starting).close()


app = st.App(Path(__file__).resolve().parents[2] / "app.py", lifespan=workers)
