"""All trials of a search: the plots, the front as a table, and how it came about."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import streamlit as st

from compression.search.reach import checked
from compression.search.records import SearchRecord
from pages.search.actions import select_trial, selected_trial
from pages.search.charts import front_figure, hidden_below, volume_figure
from pages.search.words import SAMPLE_REMARK, front_table, trial_table, trials
from pages.shared.palette import Theme
from pages.shared.url.bound import bound

if TYPE_CHECKING:
    from compression.service import Service

WHOLE = "all-trials"
_FIGURES = "search-figures"


def show_plots(service: "Service", record: SearchRecord) -> None:
    """Trials by accuracy and size, and by accuracy and latency."""
    chosen = selected_trial() or None
    whole = bool(st.session_state.get(WHOLE, st.query_params.get(WHOLE) == "true"))
    results = service.known_results(trial.key for trial in record.trials)
    tested = hash(tuple((key, own.figures.n_samples) for key, own in results.items()))
    for column, cost, title in zip(st.columns(2), ("size", "latency"), ("packed size", "latency"), strict=True):
        make = partial(front_figure, record, cost, selected=chosen, whole=whole, theme=_theme(), results=results)
        key = f"search-plot-{cost}"
        with column:
            st.plotly_chart(
                _kept(key, (*_version(record), chosen, whole, tested), make), key=key,
                on_select=partial(_take_click, key), selection_mode="points", config={"displayModeBar": False},
                alt=f"Validation {record.spec.quality.word} against {title}; the tables below have the numbers",
            )
    hidden = hidden_below(record)
    if hidden or whole:
        plural = "s lie" if hidden > 1 else " lies"
        st.toggle(f"Show all trials ({hidden} trial{plural} far below)", **bound(WHOLE))
    n = f"{record.baseline.n_samples:,} " if record.baseline is not None else ""
    st.caption(SAMPLE_REMARK.format(n=n, quality=record.spec.quality.word))


def show_front(service: "Service", record: SearchRecord) -> None:
    """The front as a table; its rows can be chosen."""
    st.markdown("**The front**, the smallest first")
    if not record.front:
        st.caption("No trial keeps the limits yet." if record.state == "running" else "No trial keeps the limits.")
        return
    table = front_table(record, service.known_results(trial.key for trial in record.front))
    quality = record.spec.quality
    tested, validated = (f"{split} {quality.heading}" for split in ("test", "validation"))
    digits = f"%.{quality.digits + 1}f"
    number, ids = st.column_config.NumberColumn, [str(key) for key in table.index]
    st.dataframe(
        table, hide_index=True, key="search-front", on_select=partial(_take_row, "search-front", ids),
        selection_mode="single-row", alt="Trials that keep the limits and that no other beats; choose one to see it",
        column_config={
            **{name: number(format=digits) for name in (quality.lost_heading, tested)},
            "speed-up": number(format="%.2f"),
            "packed kB": number(format="%.1f"), "latency ms": number(format="%.3f"),
            validated: number(format=digits, help="By which trials are compared"),
        },
    )


def show_course(service: "Service", record: SearchRecord) -> None:
    """How the search came about: the hypervolume, what was found out, and all trials as a table."""
    left, right = st.columns(2)
    with left:
        st.markdown("**Hypervolume over the trials**")
        st.plotly_chart(
            _kept("search-volume", _version(record), partial(volume_figure, record, _theme())), key="search-volume",
            config={"displayModeBar": False}, alt="Hypervolume of the front after each trial",
        )
    with right:
        st.markdown("**What was found out about the limits**")
        notes = [*record.notes, *checked(record.estimates, record.spec.quality)]
        st.markdown("\n".join(f"- {note}" for note in notes) or "Nothing yet.")
    with st.expander(f"{trials(len(record.trials))} as a table", key="all-trials-table"):
        table = trial_table(record, service.known_results(trial.key for trial in record.trials))
        st.dataframe(table, hide_index=True, alt="All trials of this search")
        st.download_button(
            "CSV", table.to_csv(index=False), f"search-{record.id}.csv", "text/csv", key="search-csv",
            icon=":material/download:", on_click="ignore",
        )


def _take_click(key: str) -> None:
    points = st.session_state[key].selection.points
    if points and points[0].get("customdata"):
        data = points[0]["customdata"]
        select_trial(str(data[0] if isinstance(data, list) else data))


def _take_row(key: str, ids: list[str]) -> None:
    rows = st.session_state[key].selection.rows
    if rows and rows[0] < len(ids):
        select_trial(ids[rows[0]])


def _theme() -> Theme:
    return "dark" if st.context.theme.type == "dark" else "light"


def _kept(key: str, of: tuple[Any, ...], make: Callable[[], go.Figure]) -> go.Figure:
    """A figure, drawn anew only if what it shows has changed."""
    kept: dict[str, tuple[tuple[Any, ...], go.Figure]] = st.session_state.setdefault(_FIGURES, {})
    if key not in kept or kept[key][0] != of:
        kept[key] = (of, make())
    return kept[key][1]


def _version(record: SearchRecord) -> tuple[Any, ...]:
    counts = len(record.finished), len(record.volumes), len(record.confirmed)
    known = hash((record.baseline, *(trial.outcome for trial in record.trials)))
    return record.id, *counts, known, _theme()
