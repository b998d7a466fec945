"""Compare: all runs in a table, and two to four of them side by side."""

import pandas as pd
import streamlit as st

from compression.experiments import ExperimentResult, get_technique
from compression.experiments.behaviour import Behaviour, flips, read_behaviour
from pages.components import backend
from pages.components.cards import show_cards
from pages.components.comparison import (
    MOST_PINS,
    class_table,
    layer_sizes,
    newest,
    recipe_difference,
    run_table,
    short_names,
    techniques_of,
)
from pages.components.palette import VARIANTS

_PINS = "pins"


def page() -> None:
    """Draw the page."""
    st.subheader("Compare", anchor=False)
    results = newest(backend.service().results())
    if not results:
        st.info("Nothing has been measured yet. Measure something on the Explore page first.")
        return
    pinned = _pins(results)
    if len(pinned) >= 2:
        _side_by_side(pinned)
    else:
        st.info(f"Choose two to {MOST_PINS} rows of the table to see them side by side.", icon=":material/push_pin:")
    _runs(results, [r.key for r in pinned])


def _pins(results: list[ExperimentResult]) -> list[ExperimentResult]:
    known = {r.key: r for r in results}
    return [known[key] for key in st.query_params.get(_PINS, "").split(",") if key in known][:MOST_PINS]


def _runs(results: list[ExperimentResult], pinned: list[str]) -> None:
    with st.container(horizontal=True, key="filters"):
        models = st.multiselect("Models", sorted({str(r.recipe["model"]) for r in results}), key="models")
        keys = sorted({key for r in results for key in techniques_of(r)})
        techniques = st.multiselect(
            "Techniques", keys, format_func=lambda key: get_technique(key).title, key="techniques"
        )
    shown = [
        r for r in results
        if (not models or r.recipe["model"] in models) and (not techniques or techniques_of(r) & set(techniques))
    ]
    table = run_table(shown)
    if table.empty:
        st.caption("No run fits these filters.")
        return
    number = st.column_config.NumberColumn
    state = st.dataframe(
        table, hide_index=True, key="runs", on_select="rerun", selection_mode="multi-row",
        alt="All measured runs; choose rows to compare them",
        column_config={
            **{name: number(format="%.2f") for name in ("accuracy %", "change", "speed-up")},
            **{name: number(format="%.1f") for name in ("packed kB", "ONNX kB")}, "latency ms": number(format="%.3f"),
        },
    )
    st.download_button(
        "CSV", table.to_csv(), "runs.csv", "text/csv", key="csv", icon=":material/download:", on_click="ignore"
    )
    chosen = [str(table.index[row]) for row in state.selection.rows if row < len(table)]
    if len(chosen) > MOST_PINS:
        st.warning(f"{len(chosen)} rows are chosen; the first {MOST_PINS} are compared.")
    if chosen and chosen[:MOST_PINS] != pinned:
        st.query_params[_PINS] = ",".join(chosen[:MOST_PINS])
        st.rerun()


def _side_by_side(pinned: list[ExperimentResult]) -> None:
    names = short_names(pinned)
    for column, name, result in zip(st.columns(len(pinned)), names, pinned, strict=True):
        with column:
            st.markdown(f"**{name}**")
            st.caption(str(result.recipe["model"]))
            show_cards(result, key=f"cards-{result.key}", even=False)
    difference = recipe_difference(pinned)
    st.markdown("**Where the recipes differ**")
    if difference.empty:
        st.caption("Nowhere.")
    else:
        st.dataframe(difference, alt="Knobs in which the recipes differ")
    _behaviour(pinned, names)
    st.markdown("**Bytes per layer in the packed file**")
    sizes = layer_sizes(pinned)
    colors = list(VARIANTS[: len(sizes.columns)])
    st.bar_chart(sizes, stack=False, sort=False, x_label="layer", y_label="bytes", color=colors)


def _behaviour(pinned: list[ExperimentResult], names: list[str]) -> None:
    st.markdown("**Accuracy per class, the most changed first**")
    if len({(str(r.recipe["dataset"]), r.recipe.get("n_samples")) for r in pinned}) > 1:
        st.caption("They were scored on different data.")
        return
    store = backend.service().store
    found = {name[0]: own for name, r in zip(names, pinned, strict=True) if (own := read_behaviour(store, r))}
    if len(found) < 2:
        st.caption("The predictions on the whole test split are not there yet.")
        return
    table: pd.DataFrame = class_table({letter: own.class_accuracy() for letter, own in found.items()})
    st.dataframe(
        table, alt="Accuracy per class",
        column_config={letter: st.column_config.NumberColumn(f"{letter} %", format="%.1f") for letter in found},
    )
    _flips(found)


def _flips(found: dict[str, Behaviour]) -> None:
    (first, before), *others = found.items()
    for letter, after in others:
        counted = flips(before, after)
        st.caption(
            f"{letter} against {first}: of {counted.total:,} predictions {counted.lost} were lost, {counted.won} won "
            f"and {counted.other} are wrong in another way."
        )


backend.enter_by_app()
page()
