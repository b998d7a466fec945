"""A result in each runtime: its file, how it is loaded, and what was measured there."""

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from compression.analysis.runtime_records import RUNTIMES, RuntimeInfo, installed
from compression.reports import Subject, runtime_snippet
from compression.reports.tables import runtime_rows
from compression.service import InputError, JobStatus
from compression.service.runtime_exports import job_key
from pages.shared.failures import fragment
from pages.shared.url.bound import bound

if TYPE_CHECKING:
    from compression.service import Service

_POLL = 0.5
_INSTALL = {"openvino": "pip install -r requirements-openvino.txt"}


def runtime_table(subject: Subject) -> pd.DataFrame:
    """One row per runtime that the result was measured in."""
    header, rows = runtime_rows(subject)
    return pd.DataFrame(rows, columns=list(header))


def show_runtimes(service: "Service", subject: Subject) -> None:
    """What was measured in which runtime, and one of them in detail."""
    st.dataframe(runtime_table(subject), hide_index=True, alt="The result in each runtime that it was measured in")
    titles = {info.title: key for key, info in RUNTIMES.items()}
    title = st.segmented_control(
        "Runtime", list(titles), default=RUNTIMES["onnxruntime"].title, **bound("runtime"), required=True,
        label_visibility="collapsed",
    )
    info = RUNTIMES[titles[str(title)]]
    st.caption(info.says)
    key = subject.result.key
    if info.key != "onnxruntime":
        if installed(info.key) is None:
            _say_how_to_install(info)
            return
        if service.exports.record(key, info.key) is None:
            every = _POLL if _unfinished(_status(service, key, info)) else None
            fragment(_show_job, f"The measurement in {info.title}", run_every=every)(service, key, info, every)
            return
    _show_file(service, subject, info)


def _say_how_to_install(info: RuntimeInfo) -> None:
    how = _INSTALL.get(info.key, f"pip install {info.package}")
    st.info(f"{info.title} is not installed here. Install it with `{how}` and start the dashboard again.")


def _status(service: "Service", key: str, info: RuntimeInfo) -> JobStatus | None:
    """State of the job that measures a result in a runtime, if there has been one."""
    job = job_key(key, info.key)
    return service.status([job]).get(job)


def _unfinished(status: JobStatus | None) -> bool:
    return status is not None and status.state in ("queued", "running")


def _show_job(service: "Service", key: str, info: RuntimeInfo, every: float | None) -> None:
    """A button that starts the measurement, or how far it is; a fragment's body.

    Args:
        service: The service.
        key: Key of the result.
        info: The runtime.
        every: The pace at which the fragment runs; the page is drawn anew when it has to begin or end.
    """
    status = _status(service, key, info)
    if _unfinished(status) != (every is not None):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", key="runtime-job"):
        if status is not None and _unfinished(status):
            stop = partial(service.cancel, [status.id])
            st.button("Cancel", key="cancel-runtime", icon=":material/stop:", on_click=stop)
            st.progress(status.fraction, text=status.message or "waiting")
            return
        label = "Measure it there" if info.key == "openvino" else "Make and check it"
        if st.button(label, key="start-runtime", icon=":material/play_arrow:"):
            try:
                service.exports.submit(key, info.key)
            except InputError as error:
                st.error(str(error))
                return
            st.rerun()
        if status is not None and status.state == "cancelled":
            st.caption("Cancelled.")
    if status is not None and status.error:
        st.error(status.error)


def _show_file(service: "Service", subject: Subject, info: RuntimeInfo) -> None:
    st.code(runtime_snippet(subject.model, info.key, subject.threads), "python")
    try:
        path = service.exports.file(subject.result.key, info.key)
    except InputError as error:
        st.error(str(error))
        return
    st.download_button(
        info.file_name, path.read_bytes(), info.file_name, key="runtime-file", icon=":material/download:",
        on_click="ignore",
    )
