"""Explore: move compression sliders and see what they cost and bring."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from compression.service import (
    FIRST_MODEL,
    Figures,
    InputError,
    ModelInfo,
    Recipe,
    Technique,
    has_weights,
    step_from_dict,
)
from pages.explore.curves import CurvesShown, curves_choice
from pages.explore.history import record
from pages.explore.order import show_order
from pages.explore.plan import Plan, make_plan
from pages.explore.plots import axes_choice, show_plots
from pages.explore.session_jobs import Tracker
from pages.explore.summary import show_summary
from pages.explore.toolbar import show_toolbar
from pages.explore.view import View, clear_selection
from pages.shared import backend
from pages.shared.controls import Further, technique_controls
from pages.shared.exchange import show_import, take_import
from pages.shared.failures import fragment
from pages.shared.technique_help import show_help
from pages.shared.url.bound import bound
from pages.shared.url.changes import ask, drawn, settle, show_notice, tell
from pages.shared.url.current import current, opens, settle_history
from pages.shared.url.data_choice import follow_model, pick_dataset
from pages.shared.url.explored import note
from pages.shared.url.state import DATA, EXTRA, MODEL, ORDER, POINT, Controls, read_extra, recipe_of, widget_values

if TYPE_CHECKING:
    from compression.service import Service

_FIRST_CURVES = (
    {"technique": "quantization", "activation_bits": 8}, {"technique": "channel_pruning"},
)
_DRAWN, _REFUSED = "drawn-recipe", "refused-model"


def page() -> None:
    """Draw the page."""
    service = backend.service()
    techniques = service.techniques()
    models = [info for info in service.models() if has_weights(info.name)]
    if not models:
        st.error("No model can be loaded: train one with `python -m models.train digits_resnet`.")
        return
    names = [info.name for info in models]
    take_import(names, techniques)
    _open_with(names, techniques)
    settle()
    head = st.container()  # what is said of the sidebar's choices stands here: on a narrow screen the sidebar is closed
    with st.sidebar:
        own = _pick_model(service, models)
        info = replace(own, dataset=pick_dataset(service, own, notices=head))  # as if it belonged to that
        head.subheader(_heading(own, info.dataset), anchor=False)
        st.markdown("##### Techniques")
        recipe = _recipe(info, techniques, {"students": service.students(info.name)}, head)
        if recipe is not None:
            note(recipe, techniques)
        show_order(recipe.steps if recipe is not None else (), techniques)
        show_import()
    show_help(service, info.name, techniques)
    # Drawn before what stands above it, for what the axes say is part of what undo takes back.
    bar, body = st.container(horizontal=True, vertical_alignment="center", key="bar"), st.container()
    with st.container(horizontal=True, vertical_alignment="center", key="toolbar"):
        axes = axes_choice(info.task)
        curves = curves_choice(recipe, techniques)
    drawn()
    tracker: Tracker = st.session_state.setdefault(f"tracker-{info.name}", Tracker())
    with bar:
        uncompressed = Recipe(info.name, info.dataset) if recipe is None else recipe.baseline()
        show_toolbar(info, techniques, record(techniques), partial(_figures, service, tracker, uncompressed))
    with body:
        show_notice()
        view = None if recipe is None else _follow(recipe, techniques, curves, tracker, service)
    if view is None:
        return
    every = view.pace()
    with body:
        fragment(show_summary, "The summary", run_every=every)(view, every)
    fragment(show_plots, "The plots", run_every=every)(view, axes)


def _open_with(names: list[str], techniques: list[Technique]) -> None:
    """Without a recipe in the address the sliders show what another page has shown since."""
    recipe = current()
    if not opens("explore", {MODEL, POINT, *(technique.key for technique in techniques)}) or recipe is None:
        return
    try:
        ask(widget_values(recipe, names, techniques))
    except InputError as error:
        if recipe.model in names:
            ask({MODEL: recipe.model, DATA: recipe.dataset})
        tell(f"The sliders cannot show the recipe of the other page: {error}", "warning")
    settle_history()


def _follow(
    recipe: Recipe, techniques: list[Technique], curves: CurvesShown, tracker: Tracker, service: "Service"
) -> View | None:
    """Ask for what the page shows; None where it is refused, which is then said."""
    plan = make_plan(
        recipe, techniques, together=curves.together, invite=[step_from_dict(step) for step in _FIRST_CURVES],
        also=curves.also, hidden=curves.hidden,
    )
    _drop_outdated_selection(plan)
    try:
        with st.spinner("Reading model and data ..."):
            tracker.follow(plan, service)
    except InputError as error:
        st.error(str(error))
        return None
    return View(service, tracker, plan, techniques)


def _figures(service: "Service", tracker: Tracker, uncompressed: Recipe) -> Figures | None:
    """The uncompressed model's figures, if they have been measured by now."""
    key = tracker.id_of(uncompressed)
    result = None if key is None else service.result(key)
    return None if result is None else result.figures


def _pick_model(service: "Service", models: list[ModelInfo]) -> ModelInfo:
    names = [info.name for info in models]
    asked = st.query_params.get(MODEL)
    if asked is not None and asked not in names and st.session_state.get(_REFUSED) != asked:
        tell(f"model: {asked!r} is not here; allowed: {', '.join(names)}", "warning")
    st.session_state[_REFUSED] = asked  # said once, so that it can be dismissed
    first = names.index(FIRST_MODEL) if FIRST_MODEL in names else 0
    known = {info.name: info for info in models}
    name = st.selectbox(
        "Model", names, index=first, **bound(MODEL),
        on_change=lambda: follow_model(service, known[st.session_state[MODEL]]),
    )
    info = known[name]
    st.caption(info.description)
    return info


def _heading(own: ModelInfo, dataset: str) -> str:
    """The model, and its dataset where that is not the usual one: on a narrow screen the sidebar is away."""
    return own.title if dataset == own.dataset else f"{own.title}, scored on {dataset}"


def _recipe(
    info: ModelInfo, techniques: list[Technique], further: Further, notices: DeltaGenerator
) -> Recipe | None:
    enabled = {}
    for technique in techniques:
        with st.container(border=True, gap="small"):
            values = technique_controls(technique, further)
        if values is not None:
            enabled[technique.key] = values
    try:
        extra, order = _extra(), [key for key in _text(ORDER).split(",") if key]
        return recipe_of(Controls(info.name, info.dataset, enabled, extra, order), techniques)
    except InputError as error:
        notices.error(str(error))
        return None


def _text(key: str) -> str:
    """A part of the view that has no widget: from the session, which the address then follows, else the address."""
    if key in st.session_state:
        text = st.session_state[key]
        if text:
            st.query_params[key] = text
        elif key in st.query_params:
            del st.query_params[key]
    return str(st.query_params.get(key, ""))


def _extra() -> dict[str, object]:
    extra = read_extra(_text(EXTRA))
    if extra:
        st.caption("Also applied, from the imported recipe: " + ", ".join(sorted(extra)))
        st.button("Drop these", key="drop-extra", on_click=ask, args=({EXTRA: ""},))
    return extra


def _drop_outdated_selection(plan: Plan) -> None:
    """A moved slider shows the new recipe, not the point that was selected before."""
    before = st.session_state.get(_DRAWN)
    st.session_state[_DRAWN] = plan.current
    if before is not None and before != plan.current:
        clear_selection()


page()
