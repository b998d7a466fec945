"""Head of a search: what was asked for, its buttons, what its state means and how far it is."""

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.search.reach import show_all
from compression.search.records import SearchRecord
from pages.search.actions import ask_again, button, delete, ease, leave, show_trouble
from pages.search.words import STATE_LOOKS, STATE_TITLES, asked, duration, first_figures, running_lines, spent, verdict

if TYPE_CHECKING:
    from compression.service import Service


def show_head(service: "Service", record: SearchRecord) -> None:
    """What was asked for, and the buttons; those that the state decides come first."""
    spec, (color, icon) = record.spec, STATE_LOOKS[record.state]
    with st.container(horizontal=True, vertical_alignment="center", key="search-head"):
        st.badge(STATE_TITLES[record.state], icon=icon, color=color)
        st.markdown(f"**{spec.model}** on {spec.dataset}: {asked(spec)}", width="content")
    with st.container(horizontal=True, vertical_alignment="center", key="search-buttons"):
        if record.state == "running":
            _running_buttons(service, record)
        elif record.resumable and record.state != "infeasible":
            label = "Try again" if record.state == "failed" else "Resume"
            button(label, "resume", ":material/play_arrow:", partial(service.searches.resume, record.id), primary=True)
        button("Change and search again", "again", ":material/tune:", partial(ask_again, record))
        button("New search", "new", ":material/add:", leave)
        if record.state != "running":
            with st.popover("Delete", icon=":material/delete:", key="delete-search"):
                st.write("The search is forgotten; what it measured stays among the results.")
                button("Delete this search", "delete", ":material/delete:", partial(delete, service, record.id))
    show_trouble()


def _running_buttons(service: "Service", record: SearchRecord) -> None:
    if not service.searches.here(record.id):
        st.caption("It runs in another process, which alone can pause or stop it.", width="content")
        return
    halting = record.message.startswith(("Pausing", "Stopping"))
    searches = service.searches
    button("Pause", "pause", ":material/pause:", partial(searches.pause, record.id), disabled=halting)
    button("Stop", "stop", ":material/stop:", partial(searches.stop, record.id))


def show_state(service: "Service", record: SearchRecord) -> None:
    """What the state means, and what can be done about it."""
    if record.state == "running":
        st.progress(record.fraction, text=spent(record))  # the number that the bar shows
        st.caption(record.message or "Starting")
    elif record.state == "paused":
        st.info("Paused. Nothing is lost: Resume continues where it was, after a restart too.", icon=":material/pause:")
    elif record.state == "interrupted":
        st.warning("The server stopped while this search ran. What was measured is kept; Resume continues from there.")
    elif record.state == "stopped":
        st.info("Stopped. What was measured is kept; Resume continues from there.", icon=":material/stop:")
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
            easing = partial(ease, service, record.id)
            button("Use the nearest limits", "ease", ":material/target:", easing, primary=True)
        if record.state == "infeasible":
            resume = partial(service.searches.resume, record.id)
            button("Search regardless", "anyway", ":material/play_arrow:", resume)
        if record.reachable is not None:
            st.caption(f"Nearest: {show_all(record.reachable, record.spec.quality)} (measured)", width="content")


def show_numbers(record: SearchRecord) -> None:
    """How many trials there are, how many are any good, and what they took."""
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
            ("Hypervolume", volume, f"Share of the box between nothing and {spec.quality.lost_text(10)}, the "
             "uncompressed size and twice its latency that the feasible trials cover; higher is better"),
            ("Time spent", of_time, "Pauses are not counted"),
        ):
            with st.container(border=True, gap=None):
                st.metric(title, value, help=remark)


def show_running(service: "Service", record: SearchRecord) -> None:
    """What is being tried now, and how far that is."""
    st.markdown("**Being tried now**")
    states = service.status([trial.key for trial in record.running])
    doing = {}
    for key, own in states.items():
        first = first_figures(own.result, service.selection(key), record.spec.quality)
        doing[key] = ", ".join(filter(None, [*first, own.message or own.state]))
    lines = running_lines(record.running, doing)
    st.markdown("\n".join(f"- {line}" for line in lines))
