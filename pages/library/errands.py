"""Buttons of the Library page that start something, and how far it is."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.library import UNFINISHED, Fetchable, download_job, removal_job
from compression.service import InputError, JobStatus, format_bytes
from pages.shared.failures import fragment

if TYPE_CHECKING:
    from compression.service import Service

POLL = 0.5


def unfinished(service: "Service", job: str | None) -> bool:
    """Whether a job is queued or running."""
    status = status_of(service, job)
    return status is not None and status.state in UNFINISHED


def status_of(service: "Service", job: str | None) -> JobStatus | None:
    """State of a job, if there has been one."""
    return None if job is None else service.status([job]).get(job)


def attempt(what: Callable[[], object]) -> None:
    """Do something for a button; what is wrong with it is told beside the page."""
    try:
        what()
    except InputError as error:
        st.toast(str(error), icon=":material/error:")


def show_job(
    service: "Service", key: str, find: Callable[[], str | None], start: Callable[[], object], label: str, icon: str,
    hint: str = "",
) -> None:
    """A button that starts a job, or its progress and a button that cancels it.

    Args:
        service: The service.
        key: Of its widgets.
        find: Gives the job's key; None where there has been none.
        start: Starts it.
        label: Of the button.
        icon: Of the button.
        hint: On hover.
    """
    every = POLL if unfinished(service, find()) else None
    fragment(_job, f"{label} ({key})", run_every=every)(service, key, find, start, label, icon, hint, every)


def _job(
    service: "Service", key: str, find: Callable[[], str | None], start: Callable[[], object], label: str, icon: str,
    hint: str, every: float | None,
) -> None:
    status = status_of(service, find())
    active = status is not None and status.state in UNFINISHED
    if active != (every is not None):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", key=f"job-{key}"):
        if status is not None and active:
            stop = partial(service.cancel, [status.id])
            st.button("Cancel", key=f"cancel-{key}", icon=":material/stop:", on_click=stop)
            st.progress(status.fraction, text=status.message or "waiting")
            return
        again = status is not None and (status.state == "failed" or status.error)
        shown = f"{label}, try again" if again else label
        if st.button(shown, key=f"start-{key}", icon=icon, help=hint or None, on_click=partial(attempt, start)):
            st.rerun()
        if status is not None and status.state == "cancelled":
            st.caption("Cancelled.", width="content")
    if status is not None and status.error:
        st.error(status.error)


def show_download(service: "Service", name: str, download: Fetchable, here: bool) -> None:
    """Download, progress, cancel and removal of a model's weights or a dataset."""
    if not here:
        size = "" if download.about_bytes is None else (
            f" ({'about ' if download.estimated else ''}{format_bytes(download.about_bytes)})"
        )
        left = download.unfinished_bytes
        label = f"Resume the download{size}" if left else f"Download{size}"
        show_job(
            service, f"download-{name}", lambda: download_job(name), lambda: service.library.download(name), label,
            ":material/download:", f"From {download.url}; {download.license}",
        )
        if left and not unfinished(service, download_job(name)):
            st.caption(f"{format_bytes(left)} are here already; the download continues from there.")
    if download.removable and not unfinished(service, download_job(name)):
        _show_removal(service, name, here)


def _show_removal(service: "Service", name: str, here: bool) -> None:
    every = POLL if unfinished(service, removal_job(name)) else None
    fragment(_removal, f"The removal of {name}", run_every=every)(service, name, here, every)


def _removal(service: "Service", name: str, here: bool, every: float | None) -> None:
    status = status_of(service, removal_job(name))
    active = status is not None and status.state in UNFINISHED
    if active != (every is not None):
        st.rerun()
    if active:
        st.caption("Removing ...")
        return
    label = "Remove the download" if here else "Remove what is here of it"
    with st.popover(label, icon=":material/delete:", key=f"removal-{name}"):
        st.write("The downloaded files are deleted. They can be downloaded again; results stay.")
        if st.button(
            "Remove", key=f"remove-{name}", type="primary",
            on_click=partial(attempt, lambda: service.library.remove(name)),
        ):
            st.rerun()
    if status is not None and status.error:
        st.error(status.error)
