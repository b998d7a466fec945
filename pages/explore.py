"""Explore: move compression sliders and see what they cost and bring."""

import streamlit as st

from compression.experiments import InputError, ModelInfo, Recipe, Technique, has_weights
from pages.components import backend
from pages.components.controls import Further, technique_controls
from pages.components.exchange import show_import
from pages.components.jobs import Tracker
from pages.components.plan import Plan, make_plan
from pages.components.plots import axes_choice, curves_choice, curves_together, show_plots
from pages.components.state import EXTRA, MODEL, Controls, read_extra, recipe_of
from pages.components.summary import show_summary
from pages.components.technique_help import show_help
from pages.components.view import View, clear_selection

_FIRST_MODEL, _FIRST_CURVE = "digits_resnet", "quantization"


def page() -> None:
    """Draw the page."""
    service = backend.service()
    techniques = service.techniques()
    models = [info for info in service.models() if has_weights(info.name)]
    if not models:
        st.error("No model can be loaded: train one with `python -m models.train digits_resnet`.")
        return
    with st.sidebar:
        info = _pick_model(models)
        st.markdown("##### Techniques")
        recipe = _recipe(info, techniques, {"students": service.students(info.name)})
        show_import([model.name for model in models], techniques)
    st.subheader(info.title, anchor=False)
    show_help(service, info.name, techniques)
    if recipe is None:
        return
    tracker: Tracker = st.session_state.setdefault(f"tracker-{info.name}", Tracker())
    plan = make_plan(recipe, techniques, together=curves_together(), invite=_invitation(techniques))
    _drop_outdated_selection(plan)
    try:
        with st.spinner("Reading model and data ..."):
            tracker.follow(plan, service)
    except InputError as error:
        st.error(str(error))
        return
    view = View(service, tracker, plan, techniques)
    every = view.pace()
    st.fragment(show_summary, run_every=every)(view, every)
    with st.container(horizontal=True, vertical_alignment="center", key="toolbar"):
        axes = axes_choice(info.task)
        curves_choice(len(recipe.steps))
    st.fragment(show_plots, run_every=every)(view, axes)


def _pick_model(models: list[ModelInfo]) -> ModelInfo:
    names = [info.name for info in models]
    asked = st.query_params.get(MODEL)
    if asked is not None and asked not in names:
        st.warning(f"model: {asked!r} is not here; allowed: {', '.join(names)}")
    first = names.index(_FIRST_MODEL) if _FIRST_MODEL in names else 0
    name = st.selectbox("Model", names, index=first, key=MODEL, bind="query-params")
    info = next(info for info in models if info.name == name)
    st.caption(info.description)
    return info


def _recipe(info: ModelInfo, techniques: list[Technique], further: Further) -> Recipe | None:
    enabled = {}
    for technique in techniques:
        with st.container(border=True, gap="small"):
            values = technique_controls(technique, further)
        if values is not None:
            enabled[technique.key] = values
    try:
        extra = _extra()
        return recipe_of(Controls(info.name, info.dataset, enabled, extra), techniques)
    except InputError as error:
        st.error(str(error))
        return None


def _extra() -> dict[str, object]:
    if EXTRA in st.session_state:
        text = st.session_state[EXTRA]
        if text:
            st.query_params[EXTRA] = text
        elif EXTRA in st.query_params:
            del st.query_params[EXTRA]
    extra = read_extra(st.query_params.get(EXTRA, ""))
    if extra:
        st.caption("Also applied, from the imported recipe: " + ", ".join(sorted(extra)))
        st.button("Drop these", key="drop-extra", on_click=lambda: st.session_state.update({EXTRA: ""}))
    return extra


def _invitation(techniques: list[Technique]) -> str | None:
    keys = [technique.key for technique in techniques]
    return _FIRST_CURVE if _FIRST_CURVE in keys else next(iter(keys), None)


def _drop_outdated_selection(plan: Plan) -> None:
    """A moved slider shows the new recipe, not the point that was selected before."""
    before = st.session_state.get("current-recipe")
    st.session_state["current-recipe"] = plan.current
    if before is not None and before != plan.current:
        clear_selection()


page()
