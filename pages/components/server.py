"""What ``make run`` starts: the dashboard of ``app.py`` with its workers, which start with the server.

A worker's imports take seconds; started here, they are over before the first page is asked for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st

from pages.components.namesake import join_compression

join_compression()


@asynccontextmanager
async def workers(app: st.App) -> AsyncIterator[None]:
    """Start the service that all sessions share, off the server's own thread, and close it at the end."""
    del app
    from pages.components import backend

    starting = asyncio.create_task(asyncio.to_thread(backend.service))
    yield
    (await starting).close()


app = st.App(Path(__file__).resolve().parents[2] / "app.py", lifespan=workers)
