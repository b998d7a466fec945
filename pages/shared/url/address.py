"""Parts of a view that stand in the address and belong to no widget: a selected point, the pinned results.

Until the browser has learnt of a change it goes on sending the address as it was, and a redraw may start with that at
any time. So the session keeps what was put there, and an address that says what it said before is not believed.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import streamlit as st

from pages.shared.url.bound import by_history, wrote
from pages.shared.url.choice import LATE_SECONDS


@dataclass(frozen=True)
class Part:
    """A part of the address as it was put there; no Streamlit in this class.

    Attributes:
        value: What it says; empty where it is not there.
        before: What it said before, and until when that was, on the monotonic clock.
    """

    value: str
    before: Mapping[str, float] = field(default_factory=dict)

    def changed(self, said: str, value: str, clock: float) -> "Part":
        """The same after a change, while the browser's address says `said`."""
        before = {**self.before, self.value: clock, said: clock}
        before.pop(value, None)
        return Part(value, before)

    def believed(self, said: str, clock: float) -> str:
        """What holds when the browser's address says `said`: that, unless it is what it said before."""
        return self.value if clock - self.before.get(said, -LATE_SECONDS) < LATE_SECONDS else said


def put(name: str, value: str, page: str = "") -> None:
    """Set a part of the address.

    Args:
        name: Of the part.
        value: What it says from now on; nothing takes it out.
        page: Where it means something, if not everywhere.
    """
    said, key = st.query_params.get(name, ""), _key(name, page)
    part: Part = st.session_state.get(key, Part(said))
    st.session_state[key] = part.changed(said, value, time.monotonic())
    _write(name, value)


def get(name: str, page: str = "") -> str:
    """A part of the address, empty where it is not there; one that is out of date is set again."""
    said = st.query_params.get(name, "")
    if by_history():
        st.session_state[_key(name, page)] = Part(said)
    part: Part = st.session_state.get(_key(name, page), Part(said))
    value = part.believed(said, time.monotonic())
    if value != said:
        _write(name, value)
    return value


def _write(name: str, value: str) -> None:
    wrote(name, st.query_params.get(name))
    if value:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]


def _key(name: str, page: str) -> str:
    return f"address-{page}-{name}"
