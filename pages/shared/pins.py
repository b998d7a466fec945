"""Results pinned for comparison: kept in the session, so that they survive a change of the page, and in the address."""

from collections.abc import Iterable
from functools import partial

import streamlit as st

from pages.shared.url.address import get, put

PINS = "pins"
MOST_PINS = 4
_SESSION = "pinned-results"


def pins() -> list[str]:
    """Keys of the pinned results. The address goes first; without it what was pinned on another page."""
    told = get(PINS)
    if told:
        keys = unique(told.split(","))
        st.session_state[_SESSION] = keys
        return keys
    keys = list(st.session_state.get(_SESSION, []))
    if keys:
        put(PINS, ",".join(keys))
    return keys


def set_pins(keys: Iterable[str]) -> None:
    """Pin these results and no others."""
    kept = unique(keys)
    st.session_state[_SESSION] = kept
    put(PINS, ",".join(kept))


def unique(keys: Iterable[str]) -> list[str]:
    """The first few keys, each once, empty ones left out."""
    return [key for key in dict.fromkeys(keys) if key][:MOST_PINS]


def pin(key: str) -> None:
    """Pin one more; the first one stays, as the others are compared with it, and the oldest other one goes."""
    own = pins()
    if key not in own:
        set_pins([*(own if len(own) < MOST_PINS else [own[0], *own[2:]]), key])


def unpin(key: str) -> None:
    """Pin one less."""
    set_pins(own for own in pins() if own != key)


def toggle(key: str) -> None:
    """Pin a result, or unpin it."""
    (unpin if key in pins() else pin)(key)


def toggle_clicked(key: str) -> None:
    """The same for a click among many results: where all places are taken, none is pushed out by it."""
    own = pins()
    if key not in own and len(own) >= MOST_PINS:
        st.toast(f"{MOST_PINS} are pinned; unpin one first.", icon=":material/push_pin:")
    else:
        toggle(key)


def show_pin(key: str) -> None:
    """A button that pins a result for comparison, and where the comparison is."""
    own = pins()
    pinned = key in own
    with st.container(horizontal=True, vertical_alignment="center", key="pin", width="content"):
        st.button(
            "Unpin" if pinned else "Pin", key="pin-this", icon=":material/push_pin:",
            on_click=partial(unpin if pinned else pin, key),  # what it says, even if a redraw has it run twice
            help=f"2 to {MOST_PINS} pinned results stand side by side on the Compare page",
        )
        if own:
            st.page_link(
                "compare/compare.py", label=f"Compare {len(own)} pinned", icon=":material/compare_arrows:",
                query_params={PINS: ",".join(own)},
            )
