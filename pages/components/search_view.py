"""One search on the page: how far it is, its plots, the front, and what can be done with a trial."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import streamlit as st

from compression.experiments import InputError, has_weights, recipe_from_dict
from compression.experiments.search.reach import show_all
from compression.experiments.search.records import SearchRecord, TrialRecord
from pages.components import search_form
from pages.components.cards import show_cards
from pages.components.exchange import address_values
from pages.components.formats import recipe_label, recipe_lines
from pages.components.palette import Theme
from pages.components.pins import MOST_PINS, PINS, pin, pins, unpin
from pages.components.search_charts import front_figure, hidden_below, volume_figure
from pages.components.search_words import (
    SAMPLE_REMARK,
    STATE_LOOKS,
    STATE_TITLES,
    asked,
    duration,
    front_table,
    running_lines,
    trial_table,
    trials,
    verdict,
)
from pages.components.state import MODEL, POINT, RESULT, widget_values

if TYPE_CHECKING:
    from compression.experiments import Service

SEARCH, WHOLE = "search", "all-trials"
LEAVING = "leaving-for-explore"
_FIGURES, _TROUBLE = "search-figures", "search-trouble"
_PACE = 1.0


def pace_of(record: SearchRecord) -> float | None:
    """Seconds between two looks; None where nothing can change by itself."""
    return _PACE if record.state == "running" else None


def show_search(service: "Service", name: str, every: float | None) -> None:
    """Draw it; a fragment's body.

    Args:
        service: The application.
        name: Of the search.
        every: The pace at which the fragment runs; the page is drawn anew when it has to begin or end.
    """
    record = service.searches.read(name)
    if record is None or st.session_state.get(LEAVING) or st.session_state.get(SEARCH) != name:
        st.rerun()
    if (pace_of(record) is None) != (every is None):
        st.rerun()
    _show_head(service, record)
    _show_state(service, record)
    _show_numbers(record)
    if record.state == "running" and record.running:
        _show_running(service, record)
    if record.baseline is None and not record.trials:
        return
    _show_plots(record)
    _show_chosen(service, record)
    _show_front(service, record)
    _show_course(record)


def _show_head(service: "Service", record: SearchRecord) -> None:
    """What was asked for, and the buttons; those that the state decides come first."""
    spec, (color, icon) = record.spec, STATE_LOOKS[record.state]
    with st.container(horizontal=True, vertical_alignment="center", key="search-head"):
        st.badge(STATE_TITLES[record.state], icon=icon, color=color)
        st.markdown(f"**{spec.model}**: {asked(spec)}", width="content")
    with st.container(horizontal=True, vertical_alignment="center", key="search-buttons"):
        if record.state == "running":
            _running_buttons(service, record)
        elif record.resumable and record.state != "infeasible":
            label = "Try again" if record.state == "failed" else "Resume"
            _button(label, "resume", ":material/play_arrow:", partial(service.searches.resume, record.id), primary=True)
        _button("Change and search again", "again", ":material/tune:", partial(_ask_again, record))
        _button("New search", "new", ":material/add:", leave)
        if record.state != "running":
            with st.popover("Delete", icon=":material/delete:", key="delete-search"):
                st.write("The search is forgotten; what it measured stays among the results.")
                _button("Delete this search", "delete", ":material/delete:", partial(_delete, service, record.id))
    trouble = st.session_state.pop(_TROUBLE, None)
    if trouble:
        st.error(trouble)


def _running_buttons(service: "Service", record: SearchRecord) -> None:
    if not service.searches.here(record.id):
        st.caption("It runs in another process, which alone can pause or stop it.", width="content")
        return
    halting = record.message.startswith(("Pausing", "Stopping"))
    searches = service.searches
    _button("Pause", "pause", ":material/pause:", partial(searches.pause, record.id), disabled=halting)
    _button("Stop", "stop", ":material/stop:", partial(searches.stop, record.id))


def _button(
    label: str, key: str, icon: str, action: Callable[[], object], *, primary: bool = False, disabled: bool = False
) -> None:
    """A button whose action runs before the next drawing; one that only looked at it would miss a click that falls
    into a redraw."""
    st.button(
        label, key=f"search-{key}", icon=icon, on_click=partial(_attempt, action), disabled=disabled,
        type="primary" if primary else "secondary",
    )


def _attempt(action: Callable[[], object]) -> None:
    try:
        action()
    except InputError as error:
        st.session_state[_TROUBLE] = str(error)


def open_search(name: str) -> None:
    """Show a search; its name is the address."""
    st.session_state[SEARCH] = st.query_params[SEARCH] = name
    st.query_params.pop(POINT, None)


def leave() -> None:
    """Show the form and the list again."""
    st.session_state[SEARCH] = ""
    for key in (SEARCH, POINT):
        st.query_params.pop(key, None)


def _ask_again(record: SearchRecord) -> None:
    search_form.fill(record.spec)
    leave()


def _delete(service: "Service", name: str) -> None:
    service.searches.delete(name)
    leave()


def _ease(service: "Service", name: str) -> None:
    open_search(service.searches.ease(name))


def _show_state(service: "Service", record: SearchRecord) -> None:
    """What the state means, and what can be done about it."""
    if record.state == "running":
        doing = record.message or "Starting"
        st.progress(record.fraction, text=f"{doing} \u2014 {trials(len(record.finished))} measured")
    elif record.state == "paused":
        st.info("Paused. Nothing is lost: Resume goes on where it was, after a restart too.", icon=":material/pause:")
    elif record.state == "interrupted":
        st.warning("The server stopped while this search ran. What was measured is kept; Resume goes on from there.")
    elif record.state == "stopped":
        st.info("Stopped. What was measured is kept; Resume goes on from there.", icon=":material/stop:")
    elif record.state == "failed":
        st.error(record.message)
    elif record.state == "done" and record.feasible:
        st.success(f"{record.message} {verdict(record)}", icon=":material/check:")
    if record.state == "infeasible":
        st.warning(record.message, icon=":material/block:")
    elif record.state == "done" and not record.feasible:
        st.warning(f"{record.message} {verdict(record)}", icon=":material/block:")
    if record.state in ("infeasible", "done") and not record.feasible:
        _show_ways_out(service, record)


def _show_ways_out(service: "Service", record: SearchRecord) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="ways-out"):
        if record.reachable is not None:
            ease = partial(_ease, service, record.id)
            _button("Use the nearest limits", "ease", ":material/target:", ease, primary=True)
        if record.state == "infeasible":
            resume = partial(service.searches.resume, record.id)
            _button("Search anyway", "anyway", ":material/play_arrow:", resume)
        if record.reachable is not None:
            st.caption(f"Nearest: {show_all(record.reachable)} (measured)", width="content")


def _show_numbers(record: SearchRecord) -> None:
    spec = record.spec
    of_trials = f"{len(record.finished)} of {spec.trials}" if spec.trials else str(len(record.finished))
    of_time = duration(record.seconds) + (f" of {spec.minutes:g} min" if spec.minutes else "")
    failed = sum(trial.state == "failed" for trial in record.trials)
    volume = f"{record.volumes[-1]:.3f}" if record.volumes else "-"
    with st.container(horizontal=True, gap="small", key="cards-search"):
        for title, value, remark in (
            ("Trials", of_trials, f"Artifacts made and measured; {failed} failed" if failed else "Artifacts measured"),
            ("Keep the limits", str(len(record.feasible)), "Feasible trials, by their measured values"),
            ("On the front", str(len(record.front)), "Feasible, and no other feasible trial clearly beats them"),
            ("Hypervolume", volume, "Share of the box between nothing and ten points lost, the uncompressed size and "
             "twice its latency that the feasible trials cover; more is better"),
            ("Time spent", of_time, "Pauses are not counted"),
        ):
            with st.container(border=True, gap=None):
                st.metric(title, value, help=remark)


def _show_running(service: "Service", record: SearchRecord) -> None:
    st.markdown("**Being tried now**")
    states = service.status([trial.key for trial in record.running])
    lines = running_lines(record.running, {key: own.message or own.state for key, own in states.items()})
    st.markdown("\n".join(f"- {line}" for line in lines))


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
    return record.id, *counts, record.baseline is None, _theme()


def _show_plots(record: SearchRecord) -> None:
    chosen = st.query_params.get(POINT)
    whole = bool(st.session_state.get(WHOLE, st.query_params.get(WHOLE) == "true"))
    for column, cost, title in zip(st.columns(2), ("size", "latency"), ("packed size", "latency"), strict=True):
        make = partial(front_figure, record, cost, selected=chosen, whole=whole, theme=_theme())
        key = f"search-plot-{cost}"
        with column:
            st.plotly_chart(
                _kept(key, (*_version(record), chosen, whole), make), key=key, on_select=partial(_take_click, key),
                selection_mode="points", config={"displayModeBar": False},
                alt=f"Accuracy on the selection sample against {title}; the tables below have the numbers",
            )
    hidden = hidden_below(record)
    if hidden or whole:
        plural = "s lie" if hidden > 1 else " lies"
        st.toggle(f"Show all trials ({hidden} trial{plural} far below)", key=WHOLE, bind="query-params")
    n = f"{record.baseline.n_samples:,} " if record.baseline is not None else ""
    st.caption(SAMPLE_REMARK.format(n=n))


def _take_click(key: str) -> None:
    points = st.session_state[key].selection.points
    if points and points[0].get("customdata"):
        data = points[0]["customdata"]
        st.query_params[POINT] = data[0] if isinstance(data, list) else data


def _take_row(key: str, ids: list[str]) -> None:
    rows = st.session_state[key].selection.rows
    if rows and rows[0] < len(ids):
        st.query_params[POINT] = ids[rows[0]]


def _show_chosen(service: "Service", record: SearchRecord) -> None:
    """The selected trial as an ordinary result: its cards, and the ways on."""
    key = st.query_params.get(POINT)
    trial = next((own for own in record.trials if own.key == key), None)
    if trial is None:
        if record.front:
            st.caption("Click a point or choose a row of the front to see, pin, open or export it.")
        _show_pins(record)
        return
    with st.container(border=True, key="chosen-trial"):
        st.markdown(f"**Trial {trial.number}** \u2014 {recipe_label(trial.recipe)}")
        result = service.result(trial.key)
        if result is None:
            st.caption(trial.error or "It has no result yet.")
        else:
            show_cards(result, key="cards-trial")
            st.caption(
                "These cards are the test split's figures"
                + ("." if result.stage == "full" else ", so far from a part of it: its intervals are still wide.")
            )
            _show_actions(service, trial)
        with st.expander("The whole recipe", key="trial-recipe"):
            st.markdown("\n".join(f"- {line}" for line in recipe_lines(trial.recipe)))
    _show_pins(record)


def _show_actions(service: "Service", trial: TrialRecord) -> None:
    pinned = pins()
    with st.container(horizontal=True, vertical_alignment="center", key="trial-actions"):
        if trial.key in pinned:
            _button("Unpin", "pin", ":material/keep_off:", partial(unpin, trial.key))
        else:
            full = len(pinned) >= MOST_PINS
            _button("Pin for comparison", "pin", ":material/push_pin:", partial(pin, trial.key), disabled=full)
        _button("Open in Explore", "explore", ":material/explore:", partial(_leave_for_explore, service, trial))
        st.page_link(
            "pages/export.py", label="Export ...", icon=":material/ios_share:", query_params={RESULT: trial.key},
            help="Files, report, model card, other runtimes, and what reproduces it",
        )
        _button("Clear selection", "clear", ":material/close:", partial(st.query_params.pop, POINT, None))


def _show_pins(record: SearchRecord) -> None:
    """What is pinned, and the way to its comparison."""
    pinned = pins()
    if not pinned:
        return
    numbers = {trial.key: f"trial {trial.number}" for trial in record.trials}
    with st.container(horizontal=True, vertical_alignment="center", key="pinned"):
        st.markdown("Pinned: " + ", ".join(numbers.get(key, key[:8]) for key in pinned), width="content")
        st.page_link(
            "pages/compare.py", label="Compare them", icon=":material/compare_arrows:", disabled=len(pinned) < 2,
            query_params={PINS: ",".join(pinned)}, help=f"Two to {MOST_PINS} side by side",
        )


def _leave_for_explore(service: "Service", trial: TrialRecord) -> None:
    names = [info.name for info in service.models() if has_weights(info.name)]
    st.session_state[LEAVING] = widget_values(recipe_from_dict(trial.recipe), names, service.techniques())


def go_on_to_explore() -> None:
    """Leave with what a callback has put down: values that are a widget's default are kept in the session's state,
    the others in the address too."""
    values = st.session_state.pop(LEAVING, None)
    if values is not None:
        st.session_state.update({key: value for key, value in values.items() if key != MODEL})
        st.switch_page("pages/explore.py", query_params=address_values(values))


def _show_front(service: "Service", record: SearchRecord) -> None:
    st.markdown("**The front**, the smallest first")
    if not record.front:
        st.caption("No trial keeps the limits yet." if record.state == "running" else "No trial keeps the limits.")
        return
    found = {trial.key: service.result(trial.key) for trial in record.front}
    table = front_table(record, {key: own for key, own in found.items() if own is not None})
    number, ids = st.column_config.NumberColumn, [str(key) for key in table.index]
    st.dataframe(
        table, hide_index=True, key="search-front", on_select=partial(_take_row, "search-front", ids),
        selection_mode="single-row", alt="Trials that keep the limits and that no other beats; choose one to see it",
        column_config={
            **{name: number(format="%.2f") for name in ("points lost", "accuracy %", "speed-up", "test accuracy %")},
            "packed kB": number(format="%.1f"), "latency ms": number(format="%.3f"),
            "accuracy %": number(format="%.2f", help="On the selection sample, by which trials are compared"),
        },
    )


def _show_course(record: SearchRecord) -> None:
    left, right = st.columns(2)
    with left:
        st.markdown("**Hypervolume over the trials**")
        st.plotly_chart(
            _kept("search-volume", _version(record), partial(volume_figure, record, _theme())), key="search-volume",
            config={"displayModeBar": False}, alt="Hypervolume of the front after each trial",
        )
    with right:
        st.markdown("**What was found out about the limits**")
        st.markdown("\n".join(f"- {note}" for note in record.notes) or "- nothing yet")
    with st.expander(f"{trials(len(record.trials))} as a table", key="all-trials-table"):
        table = trial_table(record)
        st.dataframe(table, hide_index=True, alt="All trials of this search")
        st.download_button(
            "CSV", table.to_csv(index=False), f"search-{record.id}.csv", "text/csv", key="search-csv",
            icon=":material/download:", on_click="ignore",
        )
