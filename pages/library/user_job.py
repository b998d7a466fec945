"""The check of an upload: how far it is, and what came of it. It is named in the address, so a reload keeps it."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.service import InputError, JobStatus
from pages.shared.failures import fragment

if TYPE_CHECKING:
    from compression.service import Service

_POLL, _LONG = 0.5, 300
UNFINISHED = ("queued", "running")
JOB = {"model": "own-model", "data": "own-data"}
_SAID = "own-said"


def follow(kind: str, job: str) -> None:
    """Have a job shown in its place on the page from now on."""
    st.query_params[JOB[kind]] = job
    st.session_state.pop(f"{_SAID}-{kind}", None)


def say(kind: str, error: InputError | str) -> None:
    """Keep a message until something else is asked for."""
    st.session_state[f"{_SAID}-{kind}"] = str(error)
    st.query_params.pop(JOB[kind], None)


def name_of(job: str) -> str:
    """What is being added by a job."""
    return job.removeprefix("own-").rpartition("-")[0]


def busy(service: "Service", kind: str) -> bool:
    """Whether something of this kind is being checked in this session."""
    return _unfinished(_status(service, kind))


def show_job(service: "Service", kind: str, done: Callable[[str], None]) -> None:
    """What is being checked or has been, or what is wrong.

    Args:
        service: The service.
        kind: "model" or "data".
        done: Draws what is there once a check has ended well; called with its name.
    """
    said = st.session_state.get(f"{_SAID}-{kind}")
    if said:
        _show_error(said)
    if st.query_params.get(JOB[kind]):
        every = _POLL if busy(service, kind) else None
        fragment(_show, f"The check of the {kind}", run_every=every)(service, kind, done, every)


def _status(service: "Service", kind: str) -> JobStatus | None:
    job = st.query_params.get(JOB[kind])
    return service.status([job]).get(job) if job else None


def _unfinished(status: JobStatus | None) -> bool:
    return status is not None and status.state in UNFINISHED


def _show(service: "Service", kind: str, done: Callable[[str], None], every: float | None) -> None:
    """A fragment's body; the page is drawn anew when the job has begun or ended."""
    status = _status(service, kind)
    if _unfinished(status) != (every is not None):
        st.rerun()
    if status is None:
        st.info("What was being checked is not known any more: the dashboard was started again. Add it once more.")
    elif _unfinished(status):
        with st.container(horizontal=True, vertical_alignment="center", key=f"own-{kind}-job"):
            stop = partial(service.cancel, [status.id])
            st.button("Cancel", key=f"cancel-own-{kind}", icon=":material/stop:", on_click=stop)
            st.progress(status.fraction, text=f"{name_of(status.id)}: {status.message or 'waiting'}")
    elif status.state == "cancelled":
        st.info("Cancelled; nothing was kept.")
    elif status.error:
        _show_error(status.error, "Nothing was kept.")
    else:
        done(name_of(status.id))


def _show_error(message: str, after: str = "") -> None:
    """One sentence; lines of Python in it stand below, as they are copied."""
    from compression.library.user_entries import split_script

    sentence, script = split_script(message)
    shown = _short(sentence)
    if after:
        shown = f"{after} {shown}" if script else f"{_ended(shown)} {after}"
    st.error(shown)
    if script:
        st.code(script, "python")


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?")) else f"{sentence}."


def _short(text: str) -> str:
    """One line of limited length."""
    line = plain(text)
    return line if len(line) <= 2 * _LONG else line[: 2 * _LONG] + " ..."


def plain(text: str) -> str:
    """One line, with what Markdown would take for markup shown as it is."""
    line = " ".join(text.split())
    for sign in "\\`*_[]$<>#":
        line = line.replace(sign, "\\" + sign)
    return line


def show_removal(service: "Service", kind: str, name: str) -> None:
    """A button that asks once more before something is removed."""
    with st.popover(f"Remove {name}", icon=":material/delete:", key=f"ask-remove-{kind}-{name}"):
        st.caption(f"{name} is removed from the lists. Results measured with it stay.")
        st.button(
            "Yes, remove it", key=f"remove-own-{kind}-{name}", type="primary", on_click=_remove,
            args=(service, kind, name),
        )


def _remove(service: "Service", kind: str, name: str) -> None:
    try:
        service.own.remove(name)
    except InputError as error:
        say(kind, error)
        return
    job = st.query_params.get(JOB[kind])
    if job and name_of(job) == name:
        st.query_params.pop(JOB[kind], None)
    st.session_state.pop(f"{_SAID}-{kind}", None)
