"""What a page shows where its code fails: what failed in one line, and a button that draws the page again.

Neither a traceback nor Streamlit's general error box helps who uses the page; the server's log has the traceback.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from zlib import crc32

import streamlit as st

logger = logging.getLogger(__name__)
_LONGEST = 300


def failure_line(what: str, error: Exception) -> str:
    """What failed and why, in one line without markup."""
    reason = " ".join(str(error).split()) or "no message"
    reason = reason if len(reason) <= _LONGEST else reason[:_LONGEST] + " ..."
    line = f"{what} failed: {type(error).__name__}: {reason}. The server's log has the details."
    for sign in "\\`*_[]$<>#":
        line = line.replace(sign, "\\" + sign)
    return line


def show_failure(error: Exception, what: str = "The last action") -> bool:
    """Show what failed, and a button that draws the whole page again.

    Returns:
        True, by which Streamlit knows that its own error box is not needed.
    """
    st.error(failure_line(what, error), icon=":material/error:")
    st.button("Reload", key=f"reload-{crc32(what.encode()):x}", icon=":material/refresh:", on_click=st.rerun)
    return True


@contextmanager
def reported(what: str) -> Iterator[None]:
    """Report an error of the block in place of the rest of it.

    Args:
        what: What the block draws, as it begins a sentence; one block of a page per name.
    """
    try:
        yield
    except Exception as error:  # any: whatever it is, a person sees a line and can go on
        logger.exception("%s failed", what)
        show_failure(error, what)


def guarded(body: Callable[..., None], what: str) -> Callable[..., None]:
    """A function that draws a part of a page and reports its errors in its place; see `reported`."""

    @wraps(body)
    def draw(*args: Any, **kwargs: Any) -> None:
        with reported(what):
            body(*args, **kwargs)

    return draw


def fragment(body: Callable[..., None], what: str, *, run_every: float | None = None) -> Callable[..., None]:
    """A fragment that reports its errors in its place; the rest of the page stays.

    Args:
        body: What it draws.
        what: Its name in a report; one fragment of a page per name.
        run_every: Seconds between two redraws; None for none.
    """
    return st.fragment(guarded(body, what), run_every=run_every)
