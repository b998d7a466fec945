"""Callbacks of elements within a fragment whose effect reaches beyond it."""

from collections.abc import Callable

import streamlit as st


def then_redraw(action: Callable[..., object], *args: object) -> Callable[[], None]:
    """A callback that acts and then has the whole page drawn again.

    A fragment that redraws itself leaves the others as they were. The redraw is asked for by the callback and not
    where the button's value is read: what the callback has changed may be the reason why that button is not drawn.

    Args:
        action: What the press does.
        args: Its arguments.
    """

    def act() -> None:
        action(*args)
        st.rerun()

    return act
