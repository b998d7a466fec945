"""Compare: all runs, and two to four of them side by side: figures, behaviour, weights and provenance."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from compression.service import ExperimentResult, InputError, recipe_from_dict
from pages.compare.figures_table import UNCOMPRESSED, Reference, figures_table
from pages.compare.runs import MODELS, show_runs
from pages.shared import backend
from pages.shared.comparison import baseline_of, newest, recipe_difference
from pages.shared.exchange import address_values
from pages.shared.failures import fragment
from pages.shared.formats import recipe_label
from pages.shared.palette import Theme
from pages.shared.pins import MOST_PINS, PINS, pin, pins, set_pins, toggle_clicked, unpin
from pages.shared.url.bound import bound, put_for_widget
from pages.shared.url.current import opens_with, settle_history
from pages.shared.url.state import POINT, RESULT, widget_values

if TYPE_CHECKING:
    from compression.service import Service

_REFERENCE = "reference"
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
                f"Pin 2 to {MOST_PINS} runs to see them side by side: choose rows of the table, click points, or pin "
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
    variants = {chr(65 + place): own for place, own in enumerate(pinned)}
    for letter, own in variants.items():
        _show_links(service, letter, own)
    reference = _reference(variants, baseline)
    compared = [own.key for own in (*variants.values(), reference.result) if own is not None]
    st.table(figures_table(variants, reference, service.scores(compared)))
    if reference.name == UNCOMPRESSED and len({own.model_name for own in pinned}) > 1:
        st.caption("Each variant is held against its model, uncompressed.")
    if len(pinned) > 1:
        difference = recipe_difference(pinned)
        st.markdown("**Where the recipes differ**")
        if difference.empty:
            st.caption("Recipes are identical.")
        else:
            st.dataframe(difference, alt="Knobs in which the recipes differ")
    view = st.segmented_control(
        "Look at", [_BEHAVIOUR, _WEIGHTS, _TREE], default=_BEHAVIOUR, **bound("view"), required=True,
        label_visibility="collapsed",
    )
    if view == _BEHAVIOUR:
        _behaviour(service, variants, reference, theme)
    elif view == _WEIGHTS:
        from pages.compare.weights_view import show_weights

        show_weights(service, pinned, theme)
    else:
        _provenance(pinned, results, theme)


def _reference(variants: Mapping[str, ExperimentResult], baseline: ExperimentResult | None) -> Reference:
    """What the pinned are held against; a baseline that is not pinned can be pinned here."""
    if st.session_state.get(_REFERENCE, UNCOMPRESSED) not in (UNCOMPRESSED, *variants):
        st.session_state[_REFERENCE] = UNCOMPRESSED  # the one that was chosen has been unpinned
    with st.container(horizontal=True, vertical_alignment="bottom", key="reference-row"):
        chosen = str(st.selectbox(
            "Reference", [UNCOMPRESSED, *variants], **bound(_REFERENCE), width=260,
            help="What every change in the table and among the predictions is held against",
        ))
        if baseline is not None and baseline not in variants.values() and len(variants) < MOST_PINS:
            st.button(
                "Pin the uncompressed model", key="pin-baseline", icon=":material/push_pin:",
                on_click=partial(pin, baseline.key),
            )
        st.button("Unpin all", key="unpin-all", icon=":material/clear_all:", on_click=partial(set_pins, ()))
    return Reference(chosen, baseline if chosen == UNCOMPRESSED else variants[chosen])


def _show_links(service: "Service", letter: str, result: ExperimentResult) -> None:
    """A variant's name and the ways on from it."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"links-{result.key}"):
        st.markdown(f"**{letter}**: {result.model_name}, {recipe_label(result.recipe)}", width="content")
        st.button("Unpin", key=f"unpin-{result.key}", type="tertiary", on_click=partial(unpin, result.key))
        st.page_link("export/export.py", label="Export", query_params={RESULT: result.key})
        _explore_link(service, result)


def _explore_link(service: "Service", result: ExperimentResult) -> None:
    try:
        names = [info.name for info in service.models()]
        values = widget_values(recipe_from_dict(result.recipe), names, service.techniques())
    except InputError as error:
        st.caption(f"Explore cannot show it: {error}")
        return
    st.page_link(
        "explore/explore.py", label="Open in Explore", query_params={**address_values(values), POINT: result.key}
    )


def _behaviour(
    service: "Service", variants: Mapping[str, ExperimentResult], reference: Reference, theme: Theme
) -> None:
    base, name = reference.result, "uncompressed" if reference.name == UNCOMPRESSED else reference.name
    others = [own for own in variants.items() if base is None or own[1].key != base.key]
    if base is None:
        (name, base), *others = others
    if not others:
        st.caption("Pin another one to see which predictions change.")
        return
    first = name, base
    from pages.compare.behaviour_view import show_behaviour

    show_behaviour(service, first, others, theme)


def _provenance(pinned: Sequence[ExperimentResult], results: Sequence[ExperimentResult], theme: Theme) -> None:
    from pages.compare.provenance import MOST_NODES, provenance, tree_figure, tree_lines

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


page()
