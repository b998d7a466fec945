"""Layers: where a model is sensitive, where its bytes and computations are, and what a recipe says of each layer."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from compression.service import ExperimentResult, InputError, Recipe, has_weights
from pages.layers.charts import BYTES, MACS, QUANTITIES, REST, ROOT, WEIGHTS, quantity_of, share_figure
from pages.layers.choice import layer_in_view, recipe_in_view, select_layer, show, show_told
from pages.layers.map import show_sensitivity, take_click, theme
from pages.layers.panel import facts_table, named_table, parts_of, show_effect, show_jobs, show_settings
from pages.layers.pickers import pick_layer, show_pickers
from pages.layers.recipe import named_layers, recipe_text, without_layer, without_name
from pages.layers.state import REFUSED, Measured, explore_address, measured, open_in_explore
from pages.layers.values import show_values
from pages.shared import backend
from pages.shared.comparison import layer_table
from pages.shared.failures import fragment
from pages.shared.formats import PERCENT_COLUMN, percent, recipe_label
from pages.shared.url.bound import bound

_SENSITIVITY, _SHARE, _LIST = "Sensitivity", "Share", "List"
_PICKED, _PENDING = "layer-row", "layer-leave"
_POLL = 1.0


def page() -> None:
    """Draw the page."""
    _leave()
    st.subheader("Layers", anchor=False)
    service = backend.service()
    models = [info for info in service.models() if has_weights(info.name)]
    if not models:
        st.error("No model can be loaded: train one with `python -m models.train digits_resnet`.")
        return
    recipe = recipe_in_view(service, models)
    known = measured(service, str(recipe.model), recipe.dataset)
    baseline, result = known.of(recipe.baseline()), known.of(recipe)
    layers = [own.fqn for own in baseline.layers] if baseline else []
    selected = layer_in_view(layers)
    show_told()
    show_pickers(models, recipe, known)
    _show_recipe(recipe, known, result)
    _ask_for_baseline(recipe, known, baseline, selected)
    refused = st.session_state.get(REFUSED)
    if refused:
        st.error(refused)
    view = st.segmented_control(
        "View", [_SENSITIVITY, _SHARE, _LIST], default=_SENSITIVITY, **bound("view"), required=True,
        label_visibility="collapsed",
    )
    if view == _SENSITIVITY:
        task = next((info.task for info in models if info.name == recipe.model), "image_classification")
        show_sensitivity(service, recipe, layers, selected, task)
    elif result is None and baseline is None:
        st.caption("The layers appear once the uncompressed model has been measured.")
    elif view == _SHARE:
        fragment(_show_share, "The shares")(result or baseline, selected)
    else:
        _show_list(result or baseline)
    if layers:
        _show_layer(recipe, known, baseline, result, layers, selected)
    _show_names(recipe)


def _leave() -> None:
    """Go to Explore with what a button has left here."""
    values = st.session_state.pop(_PENDING, None)
    if values is not None:
        open_in_explore(values)


def _show_recipe(recipe: Recipe, known: Measured, result: ExperimentResult | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="recipe-bar"):
        try:
            values = explore_address(recipe, known.service)
        except InputError as error:
            st.caption(f"Explore cannot show this recipe: {error}")
        else:
            leave = partial(st.session_state.update, {_PENDING: values})
            st.button("Open in Explore", key="open", icon=":material/explore:", on_click=leave)
        if result is None and recipe.steps and not known.busy(recipe):
            st.button(
                "Measure this recipe", key="measure", icon=":material/play_arrow:",
                on_click=partial(known.submit, [recipe]),
            )


def _ask_for_baseline(
    recipe: Recipe, known: Measured, baseline: ExperimentResult | None, selected: str | None
) -> None:
    """The uncompressed model is measured without being asked for; what is under way is looked at."""
    own = recipe.baseline()
    if baseline is None and known.status(own) is None:
        with st.spinner("Reading model and data ..."):
            known.submit([own])
    without = [without_layer(recipe, selected)] if selected else []
    waited = [one for one in {recipe_text(r): r for r in (own, recipe, *without)}.values() if known.busy(one)]
    if waited:
        fragment(_show_progress, "The progress", run_every=_POLL)(waited, known)
    elif baseline is None:
        show_jobs([own], known, "Measure the uncompressed model", "baseline")


def _show_progress(waited: Sequence[Recipe], known: Measured) -> None:
    """How far the recipes are that this page waits for; a fragment's body."""
    if not all(known.busy(recipe) for recipe in waited):
        st.rerun()
    show_jobs(waited, known, "", "waited")


def _show_share(result: ExperimentResult, selected: str | None) -> None:
    """Each layer's share of the artifact; a fragment's body."""
    quantity = str(st.segmented_control(
        "Share of", QUANTITIES, default=BYTES, **bound("share"), required=True,
    ))
    figures = result.figures
    total = {BYTES: figures.size_bytes, MACS: figures.macs, WEIGHTS: figures.parameters}[quantity]
    st.plotly_chart(
        share_figure(result.layers, total, quantity, selected, theme()), key="shares", selection_mode="points",
        on_select=partial(take_click, "shares", lambda point: _layer_id(point.get("id"), result)),
        config={"displayModeBar": False}, alt=f"Share of each layer in the {quantity}; the list has the numbers",
    )
    most = max(result.layers, key=lambda layer: quantity_of(layer, quantity), default=None)
    if most is not None and total:
        share = quantity_of(most, quantity) / total
        st.caption(
            f"{recipe_label(result.recipe)}: {most.fqn} has the largest share, {percent(share)} of the {quantity}. "
            "A block is grouped by its name; the rest is what no convolution or linear layer holds."
        )


def _layer_id(place: object, result: ExperimentResult) -> str | None:
    """The layer that a tile stands for; None for blocks."""
    return str(place) if place not in (REST, ROOT) and any(own.fqn == place for own in result.layers) else None


def _show_list(result: ExperimentResult) -> None:
    table: pd.DataFrame = layer_table(result)
    table.insert(3, "weights", [quantity_of(layer, WEIGHTS) for layer in result.layers])
    number = st.column_config.NumberColumn
    state = st.dataframe(
        table, hide_index=True, key="layer-list", on_select="rerun", selection_mode="single-row",
        alt="Layers of this artifact; choose a row to see more of it",
        column_config={
            "share of file": st.column_config.ProgressColumn(format=PERCENT_COLUMN, min_value=0, max_value=100),
            "zeros": number(format=PERCENT_COLUMN), "bytes": number(format="localized"),
            "weights": number(format="localized"), "MACs": number(format="compact"),
        },
    )
    row = next(iter(state.selection.rows), None)
    if row is not None and row != st.session_state.get(_PICKED) and row < len(table):
        select_layer(str(table["layer"][row]))
        st.session_state[_PICKED] = row
        st.rerun()
    st.session_state[_PICKED] = row


def _show_layer(
    recipe: Recipe, known: Measured, baseline: ExperimentResult | None, result: ExperimentResult | None,
    layers: Sequence[str], selected: str | None,
) -> None:
    """The chosen layer: facts, settings, effect and values."""
    pick_layer(layers, selected)
    if selected is None:
        st.caption("A layer's settings, and its values before and after, are shown here once one is chosen.")
        return
    left, right = st.columns(2)
    with left:
        st.markdown("**What the recipe says of it**")
        show_settings(recipe, selected, known.service.techniques())
    with right:
        st.markdown("**What it is**")
        st.dataframe(facts_table(selected, baseline, result), alt=f"{selected} before and after")
        st.markdown("**What the setting does to the whole model**")
        show_effect(recipe, selected, known)
    st.markdown("**Its values before and after**" if recipe.steps else "**Its values**")
    if result is None:
        st.caption("Measure this recipe first: the weights are read from its artifact.")
    elif not parts_of(result.layers, selected) and not recipe.steps:
        st.caption("This layer is not in the model.")
    else:
        show_values(known.service, result, selected)


def _show_names(recipe: Recipe) -> None:
    """Every layer that the recipe names, each to be removed."""
    rows = named_layers(recipe)
    if not rows:
        return
    titles = {own.key: own.title for own in backend.service().techniques()}
    with st.expander(f"Layers that the recipe names ({len(rows)})", key="named"):
        st.dataframe(named_table(rows, titles), hide_index=True, alt="Layers that the recipe names")
        names = list(dict.fromkeys((technique, name) for technique, name, _ in rows))
        chosen = st.selectbox(
            "Remove", names, format_func=lambda own: f"{titles[own[0]]}: {own[1]}", key="named-choice"
        )
        st.button(
            "Remove what is said of it", key="forget", icon=":material/delete:",
            on_click=lambda: show(without_name(recipe, *chosen)),
        )


page()
