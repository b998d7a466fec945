"""The disk and the data folder: what is used, what can be cleared, where data are looked for."""

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.library import UNFINISHED, clear_job
from compression.service import InputError, format_bytes
from pages.library.errands import POLL, attempt, status_of, unfinished
from pages.library.tables import disk_rows
from pages.shared.failures import fragment

if TYPE_CHECKING:
    from compression.service import Service

_TOLD, _FIELD = "folder-told", "data-folder"
_KINDS = ("decoded", "statistics", "results")


def show_disk(service: "Service") -> None:
    """What is used of the disk; counted beside the page."""
    waiting = service.library.disk() is None or any(unfinished(service, clear_job(kind)) for kind in _KINDS)
    every = POLL if waiting else None
    fragment(_disk, "The disk usage", run_every=every)(service, every)


def _disk(service: "Service", every: float | None) -> None:
    disk = service.library.disk()
    waiting = disk is None or any(unfinished(service, clear_job(kind)) for kind in _KINDS)
    if waiting != (every is not None):
        st.rerun()
    if disk is None:
        st.caption("Counting ...")
        return
    for kind, name, size, remark in disk_rows(disk):
        if not (kind or size):
            continue
        with st.container(horizontal=True, vertical_alignment="center", key=f"disk-{name}", gap="small"):
            st.markdown(f"**{format_bytes(size)}** {name} :small[:gray[{remark}]]", width="stretch")
            if kind:
                _show_clearing(service, kind, name, size)
    st.caption(f"{format_bytes(disk.free)} are free.")


def _show_clearing(service: "Service", kind: str, name: str, size: int) -> None:
    status = status_of(service, clear_job(kind))
    if status is not None and status.state in UNFINISHED:
        st.caption(status.message or "waiting", width="content")
        return
    with st.popover("Clear", icon=":material/delete_sweep:", disabled=not size, key=f"clear-{kind}"):
        st.write(f"{name}: {format_bytes(size)} are deleted. This cannot be undone.")
        if st.button("Delete", key=f"clear-now-{kind}", type="primary", on_click=partial(_clear, service, kind)):
            st.rerun()
    if status is not None and status.error:
        st.error(status.error)


def _clear(service: "Service", kind: str) -> None:
    attempt(partial(service.library.clear, kind))
    if kind == "results":  # what this session asked for is to be asked for again
        for key in [key for key in st.session_state if str(key).startswith("tracker-")]:
            del st.session_state[key]


def show_folder(service: "Service") -> None:
    """The choice of a data folder."""
    chosen = service.library.folder()
    st.session_state.setdefault(_FIELD, "" if chosen is None else str(chosen))
    with st.container(horizontal=True, vertical_alignment="bottom", key="folder"):
        st.text_input(
            "Folder on the server's machine", key=_FIELD, placeholder="/path/to/data", width="stretch",
            help="In torchvision's own layouts, for instance FashionMNIST/raw, cifar-10-batches-py or imagenette2-320; "
            "weights in weights/. Nothing in it is changed.",
        )
        st.button("Use it", key="folder-use", icon=":material/folder_open:", on_click=partial(_choose, service))
        if chosen is not None:
            st.button("Forget it", key="folder-forget", on_click=partial(_drop, service))
    kind, text = st.session_state.get(_TOLD, ("", ""))
    if kind == "error":
        st.error(text)
    elif kind:
        st.success(text)
    st.caption(
        f"Looked for below {chosen}, too." if chosen is not None else
        "Data are looked for below COMPRESSION_DATA, in this folder, and among the downloads."
    )


def _choose(service: "Service") -> None:
    try:
        found = service.library.choose_folder(st.session_state[_FIELD])
    except InputError as error:
        st.session_state[_TOLD] = ("error", str(error))
        return
    st.session_state[_TOLD] = ("success", "Found there: " + ", ".join(found)) if found else ("", "")


def _drop(service: "Service") -> None:
    service.library.choose_folder("")
    st.session_state.update({_FIELD: "", _TOLD: ("", "")})
