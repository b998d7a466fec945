"""Compare: all runs, and two to four of them side by side: figures, behaviour, weights and provenance."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.experiments import ExperimentResult, InputError, recipe_from_dict
from pages.components import backend
from pages.components.bound import bound, put_for_widget
from pages.components.cards import show_cards
from pages.components.comparison import (
    against,
    baseline_of,
    dataset_name,
    newest,
    recipe_difference,
    short_names,
)
from pages.components.current import opens_with, settle_history
from pages.components.exchange import address_values
from pages.components.failures import fragment
from pages.components.palette import Theme
from pages.components.pins import MOST_PINS, PINS, pin, pins, set_pins, toggle_clicked, unpin
from pages.components.runs import MODELS, show_runs
from pages.components.state import POINT, RESULT, widget_values

if TYPE_CHECKING:
    from compression.experiments import Service

_FIRST, _UNCOMPRESSED = "first", "uncompressed"
_BEHAVIOUR, _WEIGHTS, _TREE = "Behaviour", "Weights", "Provenance"


def page() -> None:
    """Draw the page."""
    st.subheader("Compare", anchor=False)
    service = backend.service()
    every = service.results()
    if not every:
        st.info("Nothing has been measured yet. Measure something on the Explore page first.")
        return
    _open_with(service, every)
    theme: Theme = "dark" if st.context.theme.type == "dark" else "light"
    results = newest(every)
    with st.container():  # the runs below keep their place, whatever stands here
        pinned = _pinned(every)
        if pinned:
            _side_by_side(service, pinned, results, theme)
        if len(pinned) < 2:
            st.info(
                f"Pin two to {MOST_PINS} runs to see them side by side: choose rows of the table, click points, or pin "
                "a point on the Explore page.", icon=":material/push_pin:",
            )
    fragment(show_runs, "The list of runs")(results, theme)


def _open_with(service: "Service", results: Sequence[ExperimentResult]) -> None:
    """The list opens with the runs of the model that the address names or that was shown before."""
    try:
        recipe = opens_with("compare", {PINS, MODELS}, service, {info.name: info for info in service.models()})
    except InputError as error:
        st.warning(str(error))
        return
    if recipe is not None and any(r.recipe["model"] == recipe.model for r in results):
        st.session_state[MODELS] = [str(recipe.model)]
        put_for_widget(MODELS, str(recipe.model))
        settle_history()


def _pinned(results: Sequence[ExperimentResult]) -> list[ExperimentResult]:
    known, asked = {r.key: r for r in results}, pins()
    missing = [key for key in asked if key not in known]
    if missing:
        st.warning(f"pins: {', '.join(missing)} is not here; it was left out.")
        set_pins(key for key in asked if key in known)
    return [known[key] for key in asked if key in known]


def _side_by_side(
    service: "Service", pinned: Sequence[ExperimentResult], results: Sequence[ExperimentResult], theme: Theme
) -> None:
    baseline = baseline_of(results, pinned[0])
    reference = _reference(pinned, baseline)
    names = short_names(pinned)
    several = len({dataset_name(own) for own in pinned}) > 1
    for place, column in enumerate(st.columns(len(pinned))):
        with column:
            first = None if reference == _UNCOMPRESSED else pinned[0]
            _column(service, pinned[place], names[place], first, name_data=several)
    if len(pinned) > 1:
        difference = recipe_difference(pinned)
        st.markdown("**Where the recipes differ**")
        if difference.empty:
            st.caption("Nowhere.")
        else:
            st.dataframe(difference, alt="Knobs in which the recipes differ")
    view = st.segmented_control(
        "Look at", [_BEHAVIOUR, _WEIGHTS, _TREE], default=_BEHAVIOUR, **bound("view"), required=True,
        label_visibility="collapsed",
    )
    if view == _BEHAVIOUR:
        _behaviour(service, pinned, baseline if reference == _UNCOMPRESSED else None, theme)
    elif view == _WEIGHTS:
        from pages.components.weights_view import show_weights

        show_weights(service, pinned, theme)
    else:
        _provenance(pinned, results, theme)


def _reference(pinned: Sequence[ExperimentResult], baseline: ExperimentResult | None) -> str:
    """What the pinned are compared with; a baseline that is not pinned can be pinned here."""
    with st.container(horizontal=True, vertical_alignment="center", key="against-what"):
        chosen = st.segmented_control(
            "Compared with", [_FIRST, _UNCOMPRESSED], default=_FIRST if len(pinned) > 1 else _UNCOMPRESSED,
            format_func=lambda own: "A, the first" if own == _FIRST else "the uncompressed model",
            **bound(f"against-{'several' if len(pinned) > 1 else 'one'}"), required=True, label_visibility="collapsed",
        )
        if baseline is not None and baseline not in pinned and len(pinned) < MOST_PINS:
            st.button(
                "Pin the uncompressed model", key="pin-baseline", icon=":material/push_pin:",
                on_click=partial(pin, baseline.key),
            )
        st.button("Unpin all", key="unpin-all", icon=":material/clear_all:", on_click=partial(set_pins, ()))
    return str(chosen)


def _column(
    service: "Service", result: ExperimentResult, name: str, first: ExperimentResult | None, *, name_data: bool
) -> None:
    st.markdown(f"**{name}**")
    st.caption(f"{result.model_name}, scored on {dataset_name(result)}" if name_data else result.model_name)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"links-{result.key}"):
        st.button("Unpin", key=f"unpin-{result.key}", type="tertiary", on_click=partial(unpin, result.key))
        st.page_link("pages/export.py", label="Export", query_params={RESULT: result.key})
        _explore_link(service, result)
    if first is None:
        show_cards(result, key=f"cards-{result.key}", even=False)
    else:
        said = "" if result.key == first.key else "A"
        same = dataset_name(result) == dataset_name(first)
        show_cards(against(result, first), key=f"cards-{result.key}", even=False, against=said, same_data=same)
        if not same:
            st.caption("Scored on other data than A: their accuracies cannot be compared.")


def _explore_link(service: "Service", result: ExperimentResult) -> None:
    try:
        names = [info.name for info in service.models()]
        values = widget_values(recipe_from_dict(result.recipe), names, service.techniques())
    except InputError as error:
        st.caption(f"Explore cannot show it: {error}")
        return
    st.page_link(
        "pages/explore.py", label="Open in Explore", query_params={**address_values(values), POINT: result.key}
    )


def _behaviour(
    service: "Service", pinned: Sequence[ExperimentResult], baseline: ExperimentResult | None, theme: Theme
) -> None:
    named = [(chr(65 + place), result) for place, result in enumerate(pinned)]
    first, *others = named
    if baseline is not None:
        first, others = ("uncompressed", baseline), [own for own in named if own[1].key != baseline.key]
    if not others:
        st.caption("Pin another one to see which predictions change.")
        return
    from pages.components.behaviour_view import show_behaviour

    show_behaviour(service, first, others, theme)


def _provenance(pinned: Sequence[ExperimentResult], results: Sequence[ExperimentResult], theme: Theme) -> None:
    from pages.components.provenance import MOST_NODES, provenance, tree_figure, tree_lines

    every = st.toggle(f"Other runs of the same models, up to {MOST_NODES} steps in all", **bound("relatives"))
    direct = [own for own in results if every or _on_the_way(own, pinned)]
    nodes = provenance(pinned, reversed(direct))
    st.plotly_chart(
        tree_figure(nodes, theme), key="tree", on_select=_take_node, selection_mode="points",
        config={"displayModeBar": False},
        alt="How each variant was derived, step by step; the list below says the same",
    )
    st.caption("Each row is derived from the one that it is indented below. A click on a measured one pins it.")
    with st.expander("As a list", key="tree-list"):
        st.markdown("\n".join(tree_lines(nodes)))


def _on_the_way(result: ExperimentResult, pinned: Sequence[ExperimentResult]) -> bool:
    """Whether a run is a stage of a pinned recipe."""
    steps = list(result.recipe["steps"])
    return any(
        {**own.recipe, "steps": list(own.recipe["steps"])[: len(steps)]} == {**result.recipe, "steps": steps}
        for own in pinned
    )


def _take_node() -> None:
    points = st.session_state["tree"].selection.points
    if points and points[0].get("customdata"):
        data = points[0]["customdata"]
        toggle_clicked(data[0] if isinstance(data, list) else data)


backend.enter_by_app()
page()
