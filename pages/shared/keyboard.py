"""What the keyboard needs beyond Streamlit's own: the way into an open popover and out of it."""

from pathlib import Path

import streamlit as st

_SCRIPT = Path(__file__).with_name("popover_keys.html")


def lead_into_popovers() -> None:
    """Let the Tab key go from a popover's button into the popover; the script is a constant, and takes no space."""
    with st.container(key="popover-keys"):
        st.html(_SCRIPT, unsafe_allow_javascript=True)
