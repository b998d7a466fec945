"""The lower part of Explore: axes and curves to choose, the linked plots, and what stands behind a point."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st

from pages.components import exchange
from pages.components.axes import COSTS, QUALITIES, Axis, qualities_of
from pages.components.bound import bound
from pages.components.charts import Mark, described, frontier_ids, pareto_figure
from pages.components.details import show_explanation, show_figures, show_layers, show_marks
from pages.components.formats import recipe_lines
from pages.components.limits import Limits, best_within, bound_of, limits_of, within
from pages.components.palette import Theme
from pages.components.pins import show_pin
from pages.components.redraw import then_redraw
from pages.components.state import RESULT
from pages.components.training import show_trainings
from pages.components.view import View, select, selection

_DEFAULTS = {"Left": "size_bytes", "Right": "latency_ms_p50"}


@dataclass(frozen=True)
class Axes:
    """What is drawn: two costs against one quality, and the limits set."""

    costs: tuple[Axis, ...]
    quality: Axis
    logarithmic: bool
    limits: Limits


def axes_choice(task: str) -> Axes:
    """Ask for the axes."""
    with st.popover("Axes", icon=":material/straighten:"):
        chosen = []
        for side, default in _DEFAULTS.items():
            keys = list(COSTS)
            chosen.append(
                st.selectbox(
                    f"{side} plot, across", keys, index=keys.index(default), format_func=lambda key: COSTS[key].title,
                    **bound(f"{side.lower()}-axis"),
                )
            )
        qualities = [axis.key for axis in qualities_of(task)]
        quality = qualities[0]
        if len(qualities) > 1:
            key = "up-axis" if task == "language_modeling" else f"up-{task}"
            quality = st.selectbox(
                "Upwards", qualities, format_func=lambda key: QUALITIES[key].title, **bound(key)
            )
        logarithmic = st.toggle("Logarithmic costs", **bound("log"))
    return Axes(tuple(COSTS[key] for key in chosen), QUALITIES[quality], logarithmic, _limits_choice(task))


def _limits_choice(task: str) -> Limits:
    """Ask for limits; an empty field sets none."""
    with st.popover("Limits", icon=":material/rule:"):
        given = {
            limit.key: st.number_input(
                limit.label, min_value=0.0, value=None, step=limit.step, **bound(limit.key), placeholder="none",
            )
            for limit in limits_of(task)
        }
    return {key: value for key, value in given.items() if value is not None}


def show_plots(view: View, axes: Axes) -> None:
    """Draw plots and details; a fragment's body."""
    statuses = view.statuses()
    marks = view.marks(statuses)
    if axes.limits and marks:
        _show_best(marks, axes)
    _draw(view, marks, axes)  # empty axes too: the browser loads its plotting code while the first point is measured
    if not marks:
        return
    focus = view.focus(statuses)
    if focus is not None:
        left, right = st.columns([3, 2])
        with left:
            show_explanation(focus)
        with right:
            with st.container(horizontal=True):
                exchange.show_downloads(view.service, focus)
            st.page_link(
                "pages/export.py", label="Export ...", icon=":material/ios_share:", query_params={RESULT: focus.key},
                help="Report, model card, other runtimes, and what reproduces it",
            )
            show_pin(focus.key)
        show_trainings(view.service, focus)
        with st.expander("Layers: kernel, encoding, bytes", key="layers"):
            show_layers(focus)
        with st.expander("All figures and the whole recipe", key="figures"):
            show_figures(focus)
            st.markdown("\n".join(f"- {line}" for line in recipe_lines(focus.recipe)))
    with st.expander("The plotted points as a table", key="points"):
        show_marks(marks, frontier_ids(marks, axes.costs[0], axes.quality))


def _show_best(marks: Sequence[Mark], axes: Axes) -> None:
    """Say how many points stay within the limits, and offer the cheapest of them."""
    inside = sum(within(mark, axes.limits) for mark in marks)
    best = best_within(marks, axes.limits, axes.costs[0], axes.quality)
    with st.container(horizontal=True, vertical_alignment="center", key="within"):
        if best is None:
            st.caption(f"None of {len(marks)} points is within the limits.")
            return
        st.button("Select the best", key="best", icon=":material/target:", on_click=then_redraw(select, best.id))
        cost = axes.costs[0]
        name = best.label if best.kind != "baseline" else "the uncompressed model"
        least = "least" if cost.less_is_better else "most"
        st.caption(
            f"{inside} of {len(marks)} points are within the limits. {least.capitalize()} {cost.title.lower()}: {name}",
            width="content",
        )


def _draw(view: View, marks: Sequence[Mark], axes: Axes) -> None:
    theme: Theme = "dark" if st.context.theme.type == "dark" else "light"
    chosen = selection() or None
    baseline = next((mark.figures for mark in marks if mark.kind == "baseline"), None)
    inside = {mark.id for mark in marks if within(mark, axes.limits)} if axes.limits else None
    asides = {curve.technique for curve in view.plan.curves if curve.aside}
    for place, (column, x) in enumerate(zip(st.columns(2), axes.costs, strict=True)):
        figure = pareto_figure(
            marks, x, axes.quality, selected=chosen, log_x=axes.logarithmic, theme=theme,
            bounds=(bound_of(x, axes.limits, baseline), bound_of(axes.quality, axes.limits)), inside=inside,
            asides=asides,
        )
        key = f"plot-{place}"
        with column:
            st.plotly_chart(
                figure, key=key, on_select=partial(_take_click, key), selection_mode="points",
                config={"displayModeBar": False},
                alt=described(marks, x, axes.quality, inside),
            )


def _take_click(key: str) -> None:
    points = st.session_state[key].selection.points
    if points and points[0].get("customdata"):
        data = points[0]["customdata"]
        select(str(data[0] if isinstance(data, list) else data))
        st.rerun()
