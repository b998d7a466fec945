"""The dashboard with its workers, which start with the server: ``streamlit run app.py``.

A worker's imports take seconds; started here, they are over before the first page is asked for. Behind ``--`` it takes
``--models FILE``, a Python file with models of the person who starts it; workers load it too.
"""

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from pages.shared.failures import show_failure
from pages.shared.namesake import join_compression

if TYPE_CHECKING:
    from compression.service import Service

join_compression()


def use_models() -> None:
    """Run the Python file of models that is named at the start, if any; where it fails, nothing is started."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--models", type=Path)
    chosen: Path | None = parser.parse_known_args(sys.argv[1:])[0].models
    if chosen is None and not os.environ.get("COMPRESSION_MODELS"):
        return
    from compression.library.models_file import use_models_file
    from compression.service import InputError

    try:
        use_models_file(chosen)
    except InputError as error:
        sys.exit(f"error: {error}")


use_models()


@asynccontextmanager
async def workers(app: st.App) -> AsyncIterator[None]:
    """Start the service that all sessions share, off the server's own thread, and close it at the end."""
    del app
    starting = asyncio.create_task(asyncio.to_thread(_started))
    yield
    (await starting).close()


def _started() -> "Service":
    """The service; opening the searches that there are takes a second, which no page should wait for."""
    from pages.shared import backend

    service = backend.service()
    service.searches.names()
    gc.collect()
    gc.freeze()  # the imported libraries stay: a quarter of a second less each time that the rest is looked through
    return service


# The handler is for callbacks of widgets, which run outside of any page.
app = st.App(Path(__file__).resolve().parent / "pages" / "main.py", lifespan=workers, on_script_error=show_failure)
