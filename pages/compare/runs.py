"""All runs: filters, a plot and a table from which they are pinned."""

from collections.abc import Sequence
from functools import partial
from zlib import crc32

import pandas as pd
import streamlit as st

from compression.service import ExperimentResult, get_technique
from pages.compare.pin_picker import pick_pin
from pages.compare.run_filters import MOST_FACETS, ORDERS, RANGES, RunFilter, facets_of, listed, runs_figure
from pages.shared.axes import COSTS
from pages.shared.comparison import dataset_name, differ_in_data, run_table, techniques_of
from pages.shared.palette import Theme
from pages.shared.pins import MOST_PINS, pins, set_pins, toggle_clicked
from pages.shared.url.bound import bound

_CHANGED, _KNOWN, _TIMES = "pins-changed", "pins-of-table", "table-times"
MODELS = "models"
_COSTS = ("size_bytes", "runtime_size_bytes", "latency_ms_p50", "macs")


def show_runs(results: Sequence[ExperimentResult], theme: Theme) -> None:
    """Filters, plot and table; a fragment's body."""
    if st.session_state.pop(_CHANGED, False):
        st.rerun()
    st.markdown("##### All runs")
    condition, order = _filters(results)
    shown = listed(results, condition, order)
    if not shown:
        st.caption(f"None of {len(results):,} runs fits these filters.")
        return
    letters = {key: chr(65 + place) for place, key in enumerate(pins())}
    pick_pin(shown, letters, _note_change)
    _plot(shown, letters, theme)
    table = run_table(shown)
    table.insert(0, "pin", [letters.get(key, "") for key in table.index])
    _table(table, [key for key in letters if key in table.index])
    with st.container(horizontal=True, vertical_alignment="center", key="below-runs"):
        st.download_button(
            "CSV", table.drop(columns="pin").to_csv(), "runs.csv", "text/csv", key="csv", icon=":material/download:",
            on_click="ignore", help="The listed runs",
        )
        st.caption(f"{len(shown):,} of {len(results):,} runs", width="content")


def _filters(results: Sequence[ExperimentResult]) -> tuple[RunFilter, str]:
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        text = st.text_input("Search", **bound("text"), placeholder="words of model or recipe", width=220)
        models = st.multiselect("Models", sorted({r.model_name for r in results}), **bound(MODELS), width=240)
        keys = sorted({key for r in results for key in techniques_of(r)})
        techniques = st.multiselect(
            "Techniques", keys, format_func=lambda key: get_technique(key).title, **bound("techniques"), width=240,
        )
        datasets: list[str] = []
        if differ_in_data(results):
            names = sorted({dataset_name(r) for r in results})
            datasets = st.multiselect("Datasets", names, **bound("datasets"), width=220)
        least, most = _ranges()
        order = st.selectbox("Order", list(ORDERS), **bound("sort"), width=220)
    return RunFilter(models, techniques, text, least, most, datasets), order


def _ranges() -> tuple[dict[str, float], dict[str, float]]:
    least, most = {}, {}
    with st.popover("Ranges", icon=":material/tune:"):
        for own in RANGES:
            left, right = st.columns(2)
            for column, word, found in ((left, "At least", least), (right, "At most", most)):
                value = column.number_input(
                    f"{word}: {own.label}", min_value=0.0, value=None, **bound(f"{word[3:]}-{own.key}"),
                    placeholder="any",
                )
                if value is not None:
                    found[own.key] = value
    return least, most


def _plot(shown: Sequence[ExperimentResult], letters: dict[str, str], theme: Theme) -> None:
    cost = st.segmented_control(
        "X axis", _COSTS, default=_COSTS[0], format_func=lambda key: COSTS[key].title, **bound("across"), required=True,
        label_visibility="collapsed",
    )
    st.plotly_chart(
        runs_figure(shown, letters, COSTS[str(cost)], theme), key="runs-plot", on_select=_take_point,
        selection_mode="points", config={"displayModeBar": False},
        alt=f"Accuracy of {len(shown)} runs against {COSTS[str(cost)].title}; the table below has the numbers",
    )
    left_out = len(facets_of(shown)) - MOST_FACETS
    if left_out > 0:
        st.caption(f"The {MOST_FACETS} models with most runs are drawn; choose Models above for the other {left_out}.")
    st.caption("A click on a point pins it, another one unpins it. Colours are those of a recipe's first technique.")


def _take_point() -> None:
    points = st.session_state["runs-plot"].selection.points
    if points and points[0].get("customdata"):
        data = points[0]["customdata"]
        toggle_clicked(data[0] if isinstance(data, list) else data)
        _note_change()


def _note_change() -> None:
    """The rest of the page shows the pins too."""
    st.session_state[_CHANGED] = True


def _table(table: pd.DataFrame, pinned: list[str]) -> None:
    """The table; its chosen rows are the pinned ones.

    It is made anew where its rows have changed, or pins that it does not know of; else it keeps its scrolling.
    """
    if set(st.session_state.get(_KNOWN, ())) != set(pinned):
        st.session_state[_KNOWN] = pinned
        st.session_state[_TIMES] = st.session_state.get(_TIMES, 0) + 1
    rows = list(table.index)
    key = _key(rows)
    number = st.column_config.NumberColumn
    st.dataframe(
        table, hide_index=True, key=key, on_select=partial(_take_rows, key, rows), selection_mode="multi-row",
        selection_default={"selection": {"rows": [rows.index(own) for own in pinned]}},
        alt="All measured runs; choose rows to compare them",
        column_config={
            "pin": st.column_config.TextColumn(width=40),
            **{name: number(format="%.2f") for name in ("accuracy %", "change", "speed-up")},
            **{name: number(format="%.4f") for name in ("R2", "mean absolute error")},
            **{name: number(format="%.1f") for name in ("packed kB", "ONNX kB")}, "latency ms": number(format="%.3f"),
        },
    )


def _key(rows: Sequence[str]) -> str:
    return f"runs-{crc32(','.join(rows).encode())}-{st.session_state.get(_TIMES, 0)}"


def _take_rows(key: str, rows: list[str]) -> None:
    """Pin the rows that were chosen and unpin those that no longer are; pins that are not listed stay.

    A table also reports the rows that it was made with, some time after that: nobody has chosen those, and what was
    pinned meanwhile stays.
    """
    chosen = [rows[row] for row in st.session_state[key].selection.rows if row < len(rows)]
    if key != _key(rows) or set(chosen) == set(st.session_state.get(_KNOWN, ())):
        return
    kept = [own for own in pins() if own in chosen or own not in rows]
    wanted = [*kept, *(own for own in chosen if own not in kept)]
    if len(wanted) > MOST_PINS:
        st.toast(f"At most {MOST_PINS} can be pinned; unpin one first.", icon=":material/push_pin:")
        st.session_state[_KNOWN] = ()
    else:
        st.session_state[_KNOWN] = [own for own in wanted if own in rows]
    set_pins(wanted)
    _note_change()
