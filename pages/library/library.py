"""Library: which models and data there are, whose they are, what is at hand and what that takes."""

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from compression.library import DatasetEntry, DiskUse, ModelEntry
from pages.library.details import show_dataset, show_model
from pages.library.disk import show_disk, show_folder
from pages.library.tables import dataset_table, model_table, task_title
from pages.library.user_data import show_own_data
from pages.library.user_model import show_own_model
from pages.library.user_onnx import show_onnx_form
from pages.shared import backend
from pages.shared.url.bound import bound

if TYPE_CHECKING:
    from compression.service import Service

MODELS, DATA = "Models", "Datasets"
_ALL, _HERE, _AWAY = "All", "Installed", "Not installed"
_ITEM = {MODELS: "item", DATA: "dataset"}
_HEIGHT = 460
_TABLE_VERSION = "library-table"


def page() -> None:
    """Draw the page."""
    st.subheader("Library", anchor=False)
    service = backend.service()
    models, data, disk = service.library.models(), service.library.datasets(), service.library.disk()
    shown, task, hand = _filters(models, data)
    entries: Sequence[ModelEntry | DatasetEntry] = models if shown == MODELS else data
    kept = [
        entry for entry in entries
        if task in (_ALL, task_title(entry.info.task)) and hand in (_ALL, _HERE if entry.here else _AWAY)
    ]
    if kept:
        _show(service, shown, kept, models, data, disk)
    else:
        st.info("Nothing fits these filters.")
    st.markdown("##### User models and datasets")
    show_onnx_form(service)
    show_own_model(service)
    show_own_data(service)
    st.markdown("##### Data folder")
    show_folder(service)
    st.markdown("##### Disk")
    show_disk(service)


def _filters(models: Sequence[ModelEntry], data: Sequence[DatasetEntry]) -> tuple[str, str, str]:
    """What is shown, of which task, and whether it is installed; all of it stands in the address."""
    with st.container(horizontal=True, vertical_alignment="top", key="filters"):
        shown = st.segmented_control(
            "Show", [MODELS, DATA], default=MODELS, required=True, **bound("show"), persist_state="session",
        )
        hand = st.segmented_control(
            "Where", [_ALL, _HERE, _AWAY], default=_ALL, required=True, **bound("hand"), persist_state="session",
        )
        tasks = dict.fromkeys(task_title(own.info.task) for own in (*models, *data))
        task = st.selectbox("Task", [_ALL, *tasks], **bound("task"), persist_state="session", width=260)
    return str(shown), str(task), str(hand)


def _show(
    service: "Service", shown: str, kept: Sequence[ModelEntry | DatasetEntry], models: Sequence[ModelEntry],
    data: Sequence[DatasetEntry], disk: DiskUse | None,
) -> None:
    """The table and what is chosen in it."""
    names, key = [entry.info.name for entry in kept], _ITEM[shown]
    asked = st.session_state.get(key, st.query_params.get(key))
    if asked is not None and asked not in names:
        if all(asked != entry.info.name for entry in (*models, *data)):
            st.warning(f"{key}: {asked!r} is not known; another one is shown.")
        st.session_state.pop(key, None)
        st.query_params.pop(key, None)
    titles = {entry.info.name: entry.info.title for entry in (*models, *data)}
    left, right = st.columns([3, 2], gap="medium")
    with right:
        first = next((entry.info.name for entry in kept if entry.here), names[0])
        name = st.selectbox(
            "Details of", names, index=names.index(first), **bound(key), persist_state="session",
            on_change=_renew_table,
        )
    with left:
        table = model_table(models_of(kept), titles) if shown == MODELS else dataset_table(data_of(kept), disk)
        _table(table, names, str(name), key)
    with right, st.container(border=True, key="library-details"):
        entry = kept[names.index(str(name))]
        if isinstance(entry, ModelEntry):
            show_model(service, entry, {own.info.name: own for own in data})
        else:
            show_dataset(service, entry, disk, models)


def models_of(entries: Sequence[ModelEntry | DatasetEntry]) -> list[ModelEntry]:
    """The models among entries."""
    return [entry for entry in entries if isinstance(entry, ModelEntry)]


def data_of(entries: Sequence[ModelEntry | DatasetEntry]) -> list[DatasetEntry]:
    """The datasets among entries."""
    return [entry for entry in entries if isinstance(entry, DatasetEntry)]


def _renew_table() -> None:
    """The choice was made beside the table, which is drawn anew to mark its row."""
    st.session_state[_TABLE_VERSION] = st.session_state.get(_TABLE_VERSION, 0) + 1


def _table(table: pd.DataFrame, names: list[str], name: str, key: str) -> None:
    rows = zlib.crc32(" ".join(names).encode())  # a mark belongs to its rows: others are another table
    widget = f"table-{key}-{rows:x}-{st.session_state.get(_TABLE_VERSION, 0)}"

    def take() -> None:
        rows = st.session_state[widget].selection.rows
        if rows and rows[0] < len(names):
            st.session_state[key] = names[rows[0]]

    number = st.column_config.NumberColumn
    st.dataframe(
        table, hide_index=True, key=widget, on_select=take, selection_mode="single-row",
        selection_default={"selection": {"rows": [names.index(name)]}}, height=min(_HEIGHT, 36 * (len(table) + 1) + 2),
        alt=f"{len(table)} models or datasets; choose one to see its details",
        placeholder="-",
        column_config={
            "fp32 %": number(format="%.2f", help="Accuracy of the uncompressed model, measured on this machine"),
            "stated %": number(format="%.2f", help="As those who trained it state it; perhaps on other data"),
            "MB": number(format="%.1f", help="On disk; of what is not installed, to download"),
            "latency ms": number(format="%.3f", help="Median of the uncompressed model on this machine"),
            "parameters": number(format="localized"), "test": number(format="localized"),
            "train": number(format="localized"), "classes": number(format="localized"),
        },
    )


page()
