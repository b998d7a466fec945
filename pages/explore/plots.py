"""The lower part of Explore: axes and curves to choose, the linked plots, and what stands behind a point."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st

from compression.service import Figures
from pages.explore.charts import Mark, described, frontier_ids, pareto_figure
from pages.explore.details import show_explanation, show_figures, show_layers, show_marks
from pages.explore.limits import (
    ABSOLUTE,
    OBJECTIVES,
    RELATIVE,
    SMALLEST,
    Limit,
    Limits,
    best_within,
    bound_of,
    limits_of,
    tied_limits,
    within,
)
from pages.explore.redraw import then_redraw
from pages.explore.training import show_trainings
from pages.explore.view import View, select, selection
from pages.shared.axes import COSTS, QUALITIES, Axis, qualities_of
from pages.shared.formats import recipe_lines
from pages.shared.palette import Theme
from pages.shared.url.bound import bound

OBJECTIVE = "objective"
_DEFAULTS = {"Left": "size_bytes", "Right": "latency_ms_p50"}


@dataclass(frozen=True)
class Axes:
    """What is drawn: two costs against one quality; the limits set, and what the best point within them is."""

    costs: tuple[Axis, ...]
    quality: Axis
    logarithmic: bool
    limits: Limits
    objective: str = SMALLEST


def axes_choice(task: str) -> Axes:
    """Ask for the axes."""
    with st.popover("Axes", icon=":material/straighten:"):
        chosen = []
        for side, default in _DEFAULTS.items():
            keys = list(COSTS)
            chosen.append(
                st.selectbox(
                    f"{side} plot, X axis", keys, index=keys.index(default), format_func=lambda key: COSTS[key].title,
                    **bound(f"{side.lower()}-axis"),
                )
            )
        qualities = [axis.key for axis in qualities_of(task)]
        quality = qualities[0]
        if len(qualities) > 1:
            key = "up-axis" if task == "language_modeling" else f"up-{task}"
            quality = st.selectbox(
                "Y axis", qualities, format_func=lambda key: QUALITIES[key].title, **bound(key)
            )
        logarithmic = st.toggle("Logarithmic costs", **bound("log"))
    return Axes(tuple(COSTS[key] for key in chosen), QUALITIES[quality], logarithmic, *_limits_choice(task))


def _limits_choice(task: str) -> tuple[Limits, str]:
    """Ask for limits, an empty field setting none, and for the objective."""
    given = {}
    with st.popover("Limits", icon=":material/rule:"):
        for title, limits in (("Against the uncompressed model", RELATIVE), ("Absolute", ABSOLUTE)):
            st.markdown(f"**{title}**")
            for limit in (own for own in limits if own in limits_of(task)):
                given[limit.key] = st.number_input(
                    limit.label, min_value=0.0, value=None, step=limit.step, **bound(limit.key), placeholder="none",
                )
        objective = st.selectbox("Objective among the points within", OBJECTIVES, **bound(OBJECTIVE))
    return {key: value for key, value in given.items() if value is not None}, str(objective)


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
        show_explanation(focus)
        show_trainings(view.service, focus)
        with st.expander("Layers: kernel, encoding, bytes", key="layers"):
            show_layers(focus)
        with st.expander("All figures and the whole recipe", key="figures"):
            show_figures(focus)
            st.markdown("\n".join(f"- {line}" for line in recipe_lines(focus.recipe)))
    with st.expander("The plotted points as a table", key="points"):
        show_marks(marks, frontier_ids(marks, axes.costs[0], axes.quality))


def _show_best(marks: Sequence[Mark], axes: Axes) -> None:
    """Say how many points stay within the limits, and offer the best of them."""
    points, baseline = {mark.id: mark for mark in marks}, _baseline(marks)
    inside = sum(within(mark, axes.limits, baseline) for mark in points.values())
    best = best_within(marks, axes.limits, axes.objective, baseline, axes.quality)
    with st.container(horizontal=True, vertical_alignment="center", key="within"):
        if best is None:
            tied = sum(bool(tied_limits(mark, axes.limits, baseline)) for mark in points.values())
            none = "The only point is not" if len(points) == 1 else f"None of {len(points)} points is"
            st.caption(f"{none} within the limits.{_near(tied)}")
            return
        st.button(
            f"Select the {axes.objective}", key="best", icon=":material/target:", on_click=then_redraw(select, best.id)
        )
        name = best.label if best.kind != "baseline" else "the uncompressed model"
        st.caption(
            f"{inside} of {len(points)} point{'' if len(points) == 1 else 's'} {'is' if inside == 1 else 'are'} "
            "within the limits. "
            f"The {axes.objective}: {name}{_undecided(tied_limits(best, axes.limits, baseline))}", width="content",
        )


def _near(tied: int) -> str:
    """How many points cannot be told from a limit."""
    if not tied:
        return ""
    return f" Of {tied}, the 95 % interval includes a limit."


def _undecided(limits: Sequence[Limit]) -> str:
    """Which limits the best point keeps by its value alone."""
    if not limits:
        return ""
    return f" (its 95 % interval includes the limit of {' and of '.join(limit.name for limit in limits)}: a tie)"


def _baseline(marks: Sequence[Mark]) -> Figures | None:
    return next((mark.figures for mark in marks if mark.kind == "baseline"), None)


def _draw(view: View, marks: Sequence[Mark], axes: Axes) -> None:
    theme: Theme = "dark" if st.context.theme.type == "dark" else "light"
    chosen = selection() or None
    baseline = _baseline(marks)
    inside = {mark.id for mark in marks if within(mark, axes.limits, baseline)} if axes.limits else None
    asides = {curve.technique for curve in view.plan.curves if curve.aside}
    for place, (column, x) in enumerate(zip(st.columns(2), axes.costs, strict=True)):
        figure = pareto_figure(
            marks, x, axes.quality, selected=chosen, log_x=axes.logarithmic, theme=theme,
            bounds=(bound_of(x, axes.limits, baseline), bound_of(axes.quality, axes.limits, baseline)), inside=inside,
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
