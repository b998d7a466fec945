"""Something that a worker finds for a page: shown when it is there, else how far it is."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.service import InputError, JobStatus
from pages.shared.failures import fragment

if TYPE_CHECKING:
    from compression.service import Service

_POLL = 0.4
_LABELS = {"failed": "Try again", "cancelled": "Resume"}


def wait_for(service: "Service", jobs: Mapping[str, Callable[[], object]], name: str) -> None:
    """Start jobs, unless they were cancelled or have failed, and show how far they are; the page is redrawn after them.

    Args:
        service: The service.
        jobs: What starts each, by its key.
        name: What they find, for people; one per place of a page.
    """
    states = service.status(jobs)
    for job, start in jobs.items():
        if job not in states or states[job].state == "done":  # done, but what it found is not there any more
            _start(start)
    fragment(_show, name, run_every=_POLL)(service, jobs, name)


def _start(start: Callable[[], object]) -> None:
    try:
        start()
    except InputError as error:
        st.error(str(error))


def _show(service: "Service", jobs: Mapping[str, Callable[[], object]], name: str) -> None:
    states = service.status(jobs)
    active = [job for job, own in states.items() if own.state in ("queued", "running")]
    stopped = [job for job, own in states.items() if own.state in _LABELS]
    if not active and not stopped:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", key=f"waiting-{name}"):
        if active:
            st.button("Cancel", key=f"cancel-{name}", icon=":material/stop:", on_click=partial(service.cancel, active))
            fraction = sum(_done(own) for own in states.values()) / max(1, len(states))
            st.progress(min(1.0, fraction), text=f"{name}: {_message(states)}")
            return
        word = states[stopped[0]].state
        again = partial(_again, [jobs[job] for job in stopped])
        st.button(_LABELS[word], key=f"again-{name}", icon=":material/play_arrow:", on_click=again)
        st.caption(f"{name}: {states[stopped[0]].error or 'cancelled'}", width="content")


def _again(starts: list[Callable[[], object]]) -> None:
    for start in starts:
        _start(start)


def _done(status: JobStatus) -> float:
    return status.fraction if status.state in ("queued", "running") else 1.0


def _message(states: Mapping[str, JobStatus]) -> str:
    return next((own.message for own in states.values() if own.state == "running" and own.message), "waiting")
