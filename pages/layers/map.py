"""The sensitivity map on the Layers page: which techniques, start, progress, cancel, and the map as it fills."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from compression.experiments.tasks import Problem, problem_of
from compression.service import PREDICTION_BASIS, InputError, JobStatus, Recipe, SensitivityMap, get_technique
from pages.layers.charts import map_layers, sensitivity_figure
from pages.layers.choice import select_layer
from pages.layers.sensitivity_scale import color_range, ranked, varied_knob
from pages.shared.failures import fragment
from pages.shared.formats import knob_value
from pages.shared.palette import Theme
from pages.shared.url.bound import bound

if TYPE_CHECKING:
    from compression.service import Service

_MAP, _TECHNIQUES, _FIRST = "map", "map-techniques", ("quantization", "weight_pruning")
_POLL = 1.0
_IN_MODEL, _BY_RANK, _NAMED = "as in the model", "most sensitive first", 3
_UNFINISHED = ("queued", "running")


def theme() -> Theme:
    """The theme that the page is drawn in."""
    return "dark" if st.context.theme.type == "dark" else "light"


def take_click(key: str, layer_of: Callable[[dict[str, object]], object]) -> None:
    """Put the layer that was clicked in a plot in focus, and have the whole page drawn anew."""
    points = st.session_state[key].selection.points
    fqn = layer_of(points[0]) if points else None
    if fqn:
        select_layer(str(fqn[0] if isinstance(fqn, list) else fqn))
        st.rerun()  # from here and not from the fragment, which may be gone by now


def show_sensitivity(
    service: "Service", recipe: Recipe, layers: Sequence[str], selected: str | None, task: str
) -> None:
    """Choose techniques, and below them the map."""
    keys = [technique.key for technique in service.techniques() if technique.by_layer]
    wanted = _pick_techniques(keys)
    problem = problem_of(task)
    title = problem.divergence_title
    st.caption(
        "Each layer alone is compressed, and the network's outputs on samples of the training split are compared "
        f"with the uncompressed network's: {title[0].lower()}{title[1:]}. Higher is more sensitive. "
        f"Cells with a dot are `estimated` ({PREDICTION_BASIS}); measuring replaces them."
    )
    if not wanted:
        st.info("Choose one technique or more.", icon=":material/touch_app:")
        return
    try:
        with st.spinner("Reading model and data ..."):
            for key in wanted:
                service.submit_prediction(str(recipe.model), recipe.dataset, key)
            maps = _maps(service, recipe, wanted)
    except InputError as error:
        st.error(str(error))
        return
    every = _POLL if _busy(service, recipe, maps) else None
    fragment(_show_map, "The sensitivity map", run_every=every)(
        service, recipe, wanted, layers, selected, problem, every
    )


def _pick_techniques(keys: Sequence[str]) -> list[str]:
    """Which techniques are on the map. A widget bound to the address would write their titles there."""
    first = [key for key in _FIRST if key in keys]
    if _TECHNIQUES not in st.session_state:
        st.session_state[_TECHNIQUES] = _techniques_of_address(keys, first)
    chosen = st.pills(
        "Techniques", keys, selection_mode="multi", key=_TECHNIQUES, format_func=lambda key: get_technique(key).title,
    )
    wanted = [key for key in keys if key in chosen]
    if wanted == [key for key in keys if key in first]:
        st.query_params.pop(_MAP, None)
    elif st.query_params.get(_MAP) != ",".join(wanted):
        st.query_params[_MAP] = ",".join(wanted)
    return wanted


def _techniques_of_address(keys: Sequence[str], first: list[str]) -> list[str]:
    asked = st.query_params.get(_MAP)
    if asked is None:
        return first
    names = [name for name in asked.split(",") if name]
    wrong = [name for name in names if name not in keys]
    if wrong:
        st.warning(f"map: {', '.join(map(repr, wrong))} is not allowed; allowed: {', '.join(keys)}")
    known = [name for name in names if name in keys]
    return known if known or not names else first


def _maps(service: "Service", recipe: Recipe, techniques: Sequence[str]) -> list[SensitivityMap]:
    return [service.sensitivity_map(str(recipe.model), recipe.dataset, key) for key in techniques]


def _statuses(service: "Service", recipe: Recipe, techniques: Sequence[str]) -> dict[str, JobStatus]:
    """State of each technique's job that measures, where it has one."""
    ids = {key: service.sensitivity_job(str(recipe.model), recipe.dataset, key) for key in techniques}
    found = service.status(ids.values())
    return {key: found[job] for key, job in ids.items() if job in found}


def _predicts(service: "Service", recipe: Recipe, maps: Sequence[SensitivityMap]) -> bool:
    """Whether predictions of a map are under way."""
    missing = [own.technique for own in maps if not own.has_prediction]
    jobs = [service.submit_prediction(str(recipe.model), recipe.dataset, key) for key in missing]
    return any(status.state in _UNFINISHED for status in service.status(jobs).values())


def _busy(service: "Service", recipe: Recipe, maps: Sequence[SensitivityMap]) -> bool:
    states = _statuses(service, recipe, [own.technique for own in maps])
    measuring = any(status.state in _UNFINISHED for status in states.values())
    return measuring or _predicts(service, recipe, maps)


def _show_map(
    service: "Service", recipe: Recipe, techniques: Sequence[str], layers: Sequence[str], selected: str | None,
    problem: Problem, every: float | None,
) -> None:
    """Progress and the map as far as it is measured; a fragment's body."""
    maps = _maps(service, recipe, techniques)
    if _busy(service, recipe, maps) != (every is not None):
        st.rerun()
    _show_jobs(service, recipe, maps)
    if not any(own.layers for own in maps) and not layers:
        st.caption("The layers appear once the uncompressed model has been measured.")
        return
    by_rank = st.segmented_control(
        "Order of layers", (_IN_MODEL, _BY_RANK), default=_IN_MODEL, **bound("rank"), required=True,
    ) == _BY_RANK
    st.plotly_chart(
        sensitivity_figure(
            maps, layers, selected, theme(), by_rank=by_rank, unit=problem.divergence_unit, quality=problem.quality,
        ), key="sensitivity",
        selection_mode="points",
        on_select=partial(take_click, "sensitivity", lambda point: point.get("customdata")),
        config={"displayModeBar": False},
        alt="Error of the network when one layer alone is compressed; the table below has the numbers",
    )
    _say_scale(maps, problem.divergence_unit)
    if any(own.predicted for own in maps):
        cells = sum(len(own.predicted) for own in maps)
        st.caption(f":gray-badge[estimated] {cells} cells with a dot: {PREDICTION_BASIS}.")
    with st.expander("The map as a table", key="map-table"):
        table = map_table(maps)
        rows = map_layers(maps, layers, by_rank=by_rank)
        st.dataframe(
            table.reindex([fqn for fqn in rows if fqn in table.index]),
            alt=f"Error in {problem.divergence_unit}, layer by knob",
        )
    reasons = sorted({reason for own in maps for reason in own.gaps.values()})
    if reasons:
        st.caption("A cross: the technique cannot act on this layer alone. " + "; ".join(reasons[:4]) + ".")


def _say_scale(maps: Sequence[SensitivityMap], unit: str) -> None:
    """What the colours span, and which layers come first."""
    order = ranked(maps)
    if not order:
        return
    low, high = (10**end for end in color_range(maps))
    st.caption(
        f"Colours are logarithmic from {low:.1g} to {high:.1g} {unit}, the 5th to the 95th percentile of this map; "
        "cells beyond have the colour of the end. Most sensitive by the geometric mean of their errors: "
        + ", ".join(order[:_NAMED]) + "."
    )


def _show_jobs(service: "Service", recipe: Recipe, maps: Sequence[SensitivityMap]) -> None:
    statuses = _statuses(service, recipe, [own.technique for own in maps])
    busy = [status.id for status in statuses.values() if status.state in _UNFINISHED]
    measured = sum(own.measured for own in maps) / len(maps)
    with st.container(horizontal=True, vertical_alignment="center", key="map-job"):
        if busy:
            st.button("Cancel", key="cancel-map", icon=":material/stop:", on_click=partial(service.cancel, busy))
            doing = next((s.message for s in statuses.values() if s.state == "running" and s.message), "waiting")
            st.progress(min(1.0, measured), text=f"{100 * measured:.0f} % measured: {doing}")
        elif measured < 1.0:
            techniques = [own.technique for own in maps if not own.complete]
            st.button(
                "Resume" if measured else "Measure the sensitivities", key="start-map", icon=":material/play_arrow:",
                on_click=partial(_start, service, recipe, techniques),
            )
            cancelled = any(status.state == "cancelled" for status in statuses.values())
            told = f"{100 * measured:.0f} % measured. What is measured stays." if measured else "Nothing measured yet."
            st.caption(("Cancelled. " if cancelled else "") + told, width="content")
    for error in sorted({status.error for status in statuses.values() if status.error}):
        st.error(error)


def _start(service: "Service", recipe: Recipe, techniques: Sequence[str]) -> None:
    try:
        for key in techniques:
            service.submit_sensitivity(str(recipe.model), recipe.dataset, key)
    except InputError as error:
        st.toast(str(error), icon=":material/error:")


def map_table(maps: Sequence[SensitivityMap]) -> pd.DataFrame:
    """Errors as numbers: a row per layer, a column per technique and strength; gaps and what is to come are empty."""
    columns: dict[str, dict[str, float]] = {}
    for own in maps:
        title = get_technique(own.technique).title
        for badge, rows in (("", own.rows), (", estimated", own.predicted)):
            cells = {(row.fqn, row.value): row.error for row in rows}
            for value in own.strengths:
                column = {fqn: cells[fqn, value] for fqn in own.layers if (fqn, value) in cells}
                if column or not badge:
                    name = f"{title}: {varied_knob(own.technique).lower()} {knob_value(value)}{badge}"
                    columns[name] = column
    order = list(dict.fromkeys(fqn for own in maps for fqn in own.layers))
    return pd.DataFrame(columns).reindex(order)
