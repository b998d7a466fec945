"""The upper part of Explore, which refreshes itself: the baseline, progress, and the cards of the point in focus."""

from collections.abc import Callable, Mapping

import streamlit as st

from compression.experiments.results import ACCURACY
from compression.service import ExperimentResult, InputError, JobStatus, recipe_from_dict
from pages.explore.redraw import then_redraw
from pages.explore.session_jobs import Progress, curve_progress
from pages.explore.training import show_running
from pages.explore.view import View, clear_selection, pace_of, selection
from pages.shared.cards import show_cards
from pages.shared.exchange import show_downloads
from pages.shared.formats import baseline_line, recipe_label
from pages.shared.pins import show_pin
from pages.shared.url.changes import ask
from pages.shared.url.state import RESULT, widget_values

_NO_BASELINE = "fp32: not measured yet; the uncompressed model is measured first"


def show_summary(view: View, every: float | None) -> None:
    """Draw it; a fragment's body.

    Args:
        view: What to draw.
        every: The pace at which the fragment runs; the page is drawn anew when it has to begin or end.
    """
    statuses = view.statuses()
    progress = view.progress(statuses)
    if (pace_of(progress) is None) != (every is None):
        st.rerun()
    baseline = view.baseline(statuses)
    st.markdown(_NO_BASELINE if baseline is None else baseline_line(baseline))
    # Filled last: whoever reads there that all is measured has the figures of that state before them.
    place = st.container()
    pack = None if baseline is None else _show_focus(view, view.focus(statuses))
    with place:
        _show_progress(view, statuses, progress)
        for key, status in statuses.items():
            if status.state == "running" and status.result is None:
                show_running(view.service, key, ACCURACY if baseline is None else baseline.figures.kind)
    if pack is not None:
        pack()


def _counts(view: View, statuses: Mapping[str, JobStatus], progress: Progress) -> str:
    """All points that the plots show, as the limits count them; each curve's where there are several."""
    counts = f"{progress.measured} of {progress.total} points"
    curves = [curve_progress(curve, view.tracker, statuses) for curve in view.plan.curves]
    return f"{counts} ({', '.join(curves)})" if len(curves) > 1 else counts


def _show_progress(view: View, statuses: Mapping[str, JobStatus], progress: Progress) -> None:
    """Draw the progress, its button first: a button that is going away would push one behind it from under a click."""
    for message, times in progress.errors.items():
        st.error(f"{message} ({times} points)" if times > 1 else message)
    counts = _counts(view, statuses, progress)
    with st.container(horizontal=True, vertical_alignment="center", key="progress"):
        if progress.active:
            st.button("Cancel", key="cancel", icon=":material/stop:", on_click=view.cancel)
            doing = f" \u2014 {progress.message}" if progress.message else ""
            st.progress(progress.fraction, text=counts + doing)
        elif progress.cancelled or progress.errors:
            # A callback: one that only looked at the button's value would miss a click that falls into a redraw.
            label = "Resume" if progress.cancelled else "Try again"
            st.button(label, key="resume", icon=":material/play_arrow:", on_click=view.resume)
            st.caption(("Cancelled. " if progress.cancelled else "") + counts, width="stretch")
        elif progress.refining:
            points = "1 point" if progress.refining == 1 else f"{progress.refining} points"
            st.caption(f"{counts}; the intervals of {points} are being tightened.")
        else:
            st.caption(f"{counts}, all measured.")


def _show_focus(view: View, focus: ExperimentResult | None) -> Callable[[], None] | None:
    """The point in focus: what it is, its files and ways on, its cards.

    Returns:
        What packs its bundle.
    """
    if focus is None:
        st.caption("The current recipe has not been measured yet.")
        return None
    if view.plan.invitation and not selection():
        shown = " and ".join(f"**{curve.title.lower()}**" for curve in view.plan.curves)
        st.info("Switch a technique on and move its sliders." + (f" Meanwhile: {shown}." if shown else ""))
    with st.container(horizontal=True, vertical_alignment="center", key="focus"):
        place = st.empty()  # the name of the point, drawn after the buttons that belong to it
        pack = show_downloads(view.service, focus)
        st.page_link(
            "export/export.py", label="Export ...", icon=":material/ios_share:",
            query_params={RESULT: focus.key}, help="Report, model card, other runtimes, and what reproduces it",
        )
        show_pin(focus.key)
        if selection():
            st.button("Load into sliders", key="load", on_click=then_redraw(_load, view, focus))
            st.button("Clear selection", key="clear", on_click=then_redraw(clear_selection))
        word = "Selected" if selection() else "Current recipe"
        place.markdown(f"**{word}** \u2014 {recipe_label(focus.recipe)}", width="content")
    show_cards(focus)
    return pack


def _load(view: View, result: ExperimentResult) -> None:
    try:
        names = [info.name for info in view.service.models()]
        ask(widget_values(recipe_from_dict(result.recipe), names, view.techniques))
    except InputError as error:
        st.toast(str(error), icon=":material/error:")
        return
    clear_selection()
