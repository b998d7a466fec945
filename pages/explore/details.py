"""What stands behind a point: why it is not smaller or faster, its layers, and the plotted numbers as a table."""

from collections.abc import Sequence
from functools import partial
from zlib import crc32

import pandas as pd
import streamlit as st

from compression.service import ExperimentResult, figure_rows
from pages.explore.charts import Mark
from pages.explore.view import select
from pages.shared.comparison import layer_table
from pages.shared.formats import PERCENT_COLUMN


def show_explanation(result: ExperimentResult) -> None:
    """Short answers derived from the result, and the remarks of its steps."""
    if result.explanation:
        st.markdown("**Why isn't it smaller or faster?**\n" + "\n".join(f"- {line}" for line in result.explanation))
    if result.notes:
        st.markdown("**Notes from each step**\n" + "\n".join(f"- {line}" for line in result.notes))


def show_layers(result: ExperimentResult) -> None:
    """The layer table."""
    st.dataframe(
        layer_table(result), hide_index=True, alt="Layers of this artifact",
        column_config={
            "share of file": st.column_config.ProgressColumn(format=PERCENT_COLUMN, min_value=0, max_value=100),
            "zeros": st.column_config.NumberColumn(format=PERCENT_COLUMN),
            "bytes": st.column_config.NumberColumn(format="localized"),
            "MACs": st.column_config.NumberColumn(format="compact"),
        },
    )


def show_figures(result: ExperimentResult) -> None:
    """All figures beside the baseline's."""
    rows = pd.DataFrame(figure_rows(result), columns=["figure", "this artifact", "uncompressed", "badge"])
    st.dataframe(rows, hide_index=True, alt="All figures of this artifact and of the uncompressed model")
    if result.badge_notes:
        st.caption(" ".join(sorted(set(result.badge_notes.values()))))


def mark_table(marks: Sequence[Mark], front: Sequence[str]) -> pd.DataFrame:
    """The plotted points as a table; the text alternative of the plots.

    Args:
        marks: Points in drawing order.
        front: Ids of those that no other beats.
    """
    names = {"baseline": "uncompressed", "current": "current recipe"}
    return pd.DataFrame(
        {
            "series": [names.get(m.kind, m.title) for m in marks],
            "recipe": ["; ".join(m.recipe) for m in marks],
            marks[0].figures.kind.heading if marks else "accuracy %": [
                m.figures.kind.shown(m.figures.accuracy) for m in marks
            ],
            "low": [m.figures.kind.shown(m.figures.accuracy_low) for m in marks],
            "high": [m.figures.kind.shown(m.figures.accuracy_high) for m in marks],
            **_errors(marks),
            "packed kB": [m.figures.size_bytes / 1000 for m in marks],
            "ONNX kB": [m.figures.runtime_size_bytes / 1000 for m in marks],
            "latency ms": [m.figures.latency_ms_p50 for m in marks],
            "speed-up": [m.figures.speedup for m in marks],
            "on the frontier": [m.id in front for m in marks],
        }
    )


def _errors(marks: Sequence[Mark]) -> dict[str, list[float | None]]:
    """A column of mean absolute errors where the points are regressions."""
    errors = [mark.figures.mean_absolute_error for mark in marks]
    return {"mean absolute error": errors} if any(error is not None for error in errors) else {}


def show_marks(marks: Sequence[Mark], front: Sequence[str]) -> None:
    """The plotted points as a table; a row that is chosen is selected.

    A choice belongs to the rows it was made in: a point that comes in later moves those behind it.
    """
    table, ids = mark_table(marks, front), [mark.id for mark in marks]
    key = f"points-table-{crc32(','.join(ids).encode()):x}"
    number = st.column_config.NumberColumn
    st.dataframe(
        table, hide_index=True, key=key, on_select=partial(_take_row, key, ids), selection_mode="single-row",
        alt="The plotted points; choose a row to select its point",
        column_config={
            **{name: number(format="%.2f") for name in ("accuracy %", "low", "high", "speed-up")},
            **{name: number(format="%.1f") for name in ("packed kB", "ONNX kB")}, "latency ms": number(format="%.3f"),
        },
    )


def _take_row(key: str, ids: Sequence[str]) -> None:
    rows = st.session_state[key].selection.rows
    if rows and rows[0] < len(ids):
        select(ids[rows[0]])
        st.rerun()
