"""Which recipe and which layer the Layers page shows.

A picker, a button or a click in a plot names another one, or a link's address does. All of it is read here when a
redraw begins and not in callbacks: one could be cut off by a redraw, or undone by its older address.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from compression.service import FIRST_MODEL, InputError, ModelInfo, Recipe
from pages.layers.recipe import RECIPE, read_recipe_text, recipe_text
from pages.shared.url.bound import by_history
from pages.shared.url.choice import LATE_SECONDS, Choice
from pages.shared.url.current import bare, current, opens_with, set_current
from pages.shared.url.data_choice import DataChoice, data_choice

if TYPE_CHECKING:
    from compression.service import Service

LAYER = "layer"
MODEL_PICKER, DATA_PICKER, RECIPE_PICKER, LAYER_PICKER = "layer-model", "layer-data", "layer-recipe", "layer-choice"
_RECIPE_SHOWN, _RECIPE_ASKED = "recipe-shown", "recipe-asked"
_LAYER_SHOWN, _LAYER_ASKED = "layer-shown", "layer-asked"
_TOLD = "layers-told"
_NOTHING = Choice({}, {}, 0.0)


def show(recipe: Recipe) -> None:
    """Put another recipe in view in the redraw that follows; for callbacks."""
    st.session_state[_RECIPE_ASKED] = recipe


def select_layer(fqn: str) -> None:
    """Put a layer in focus in the redraw that follows; it is part of the address."""
    st.session_state[_LAYER_ASKED] = fqn


def recipe_in_view(service: "Service", models: Sequence[ModelInfo]) -> Recipe:
    """What a button, a picker or the address newly names, else what was shown here or on Explore, else the first model.

    The page is asked for without an address later on, too: it comes back to this recipe.
    """
    state, now, known = st.session_state, time.monotonic(), {info.name: info for info in models}
    said: dict[str, str | None] = {RECIPE: st.query_params.get(RECIPE)}
    said |= {key: state.get(key) for key in (MODEL_PICKER, DATA_PICKER, RECIPE_PICKER)}
    before: Choice = state.get(_RECIPE_SHOWN, _NOTHING)
    coming = RECIPE_PICKER not in state or by_history()  # from another page: the address is meant as it is
    news = _NOTHING.news({RECIPE: said[RECIPE]}, now) if coming else before.news(said, now)
    asked: Recipe | None = state.get(_RECIPE_ASKED)
    if news or asked:
        _told().pop(RECIPE, None)
    if coming:
        _drop_old_words(now)
        _open_with(service, known)
    shown = current()
    if shown is None or shown.model not in known:
        shown = bare(service, known.get(FIRST_MODEL, models[0]))
    picked = asked or _picked(service, known, shown, news)
    recipe = picked or _linked(service, known, news.get(RECIPE)) or shown
    _keep_recipe(recipe, said, now, before, changed=bool(news), linked=picked is None and RECIPE in news)
    state.pop(_RECIPE_ASKED, None)
    return recipe


def _open_with(service: "Service", known: Mapping[str, ModelInfo]) -> None:
    """What the page opens with where its address has no recipe: a model that it names, else what was shown before."""
    try:
        opens_with("layers", {RECIPE}, service, known)
    except InputError as error:
        _tell(RECIPE, str(error))


def _picked(
    service: "Service", known: Mapping[str, ModelInfo], shown: Recipe, news: Mapping[str, str]
) -> Recipe | None:
    """What the pickers newly name; None if they name nothing new."""
    try:
        recipe = read_recipe_text(news[RECIPE_PICKER]) if RECIPE_PICKER in news else None
    except InputError:  # a name that the list had before, from a browser that does not know the new one yet
        recipe = None
    if recipe is not None and recipe.model in known:
        return recipe
    if news.get(MODEL_PICKER) in known:
        return bare(service, known[news[MODEL_PICKER]])
    choice = data_choice(service, known[str(shown.model)])
    return replace(shown, dataset=news[DATA_PICKER]) if news.get(DATA_PICKER) in choice.names else None


def _linked(service: "Service", known: Mapping[str, ModelInfo], text: str | None) -> Recipe | None:
    """The recipe that an address newly names; where it cannot be shown, that is said."""
    if text is None:
        return None
    try:
        recipe = read_recipe_text(text)
    except InputError as error:
        _tell(RECIPE, str(error))
        return None
    if recipe.model in known:
        return _on_data_here(recipe, data_choice(service, known[str(recipe.model)]))
    _tell(RECIPE, f"model: {recipe.model!r} is not here; allowed: {', '.join(known)}")
    return None


def _on_data_here(recipe: Recipe, choice: DataChoice) -> Recipe:
    """A recipe that cannot be scored on its dataset here is scored on the usual one, which is said."""
    if recipe.dataset in choice.names or not choice.here:
        return recipe
    _tell(RECIPE, choice.why_not(recipe.dataset))
    return replace(recipe, dataset=choice.usual)


def _keep_recipe(
    recipe: Recipe, said: Mapping[str, str | None], now: float, before: Choice, *, changed: bool, linked: bool
) -> None:
    """Remember what is shown, and have address and pickers say it."""
    state, text = st.session_state, recipe_text(recipe)
    shown = {RECIPE: text, MODEL_PICKER: str(recipe.model), DATA_PICKER: recipe.dataset, RECIPE_PICKER: text}
    if before.shown and before.shown[MODEL_PICKER] != shown[MODEL_PICKER]:
        _forget_layer(now, linked=linked)
    if changed or shown != before.shown:
        state[_RECIPE_SHOWN] = Choice(shown, said, now)
    set_current(recipe)
    if said[RECIPE] != text:
        st.query_params[RECIPE] = text


def _forget_layer(now: float, *, linked: bool) -> None:
    """Another model has other layers. That of the address is still the one before, unless it came by the same link."""
    said = {LAYER: None if linked else st.query_params.get(LAYER), LAYER_PICKER: st.session_state.get(LAYER_PICKER)}
    st.session_state[_LAYER_SHOWN] = Choice({LAYER: "", LAYER_PICKER: ""}, said, now)


def layer_in_view(layers: Sequence[str]) -> str | None:
    """The layer in focus; None if there is none.

    Args:
        layers: Those of the model; empty while they are not known yet.
    """
    state, now = st.session_state, time.monotonic()
    said: dict[str, str | None] = {LAYER: st.query_params.get(LAYER), LAYER_PICKER: None}
    if LAYER_PICKER in state:
        said[LAYER_PICKER] = state[LAYER_PICKER] or ""
    before: Choice = state.get(_LAYER_SHOWN, _NOTHING)
    if by_history():
        before = Choice({LAYER: said[LAYER] or "", LAYER_PICKER: said[LAYER] or ""}, said, now)
        state[_LAYER_SHOWN] = before
    news, asked = before.news(said, now), state.get(_LAYER_ASKED)
    if news or asked:
        _told().pop(LAYER, None)
    chosen = asked or news.get(LAYER_PICKER, news.get(LAYER, before.shown.get(LAYER, "")))
    if layers and chosen and chosen not in layers:
        _tell(LAYER, f"layer: {chosen!r} is not one of this model's layers.")
        chosen = ""
    shown = {LAYER: chosen, LAYER_PICKER: chosen}
    if news or shown != before.shown:
        state[_LAYER_SHOWN] = Choice(shown, said, now)
    state.pop(_LAYER_ASKED, None)
    if not chosen:
        st.query_params.pop(LAYER, None)
    elif said[LAYER] != chosen:
        st.query_params[LAYER] = chosen
    return chosen or None


def show_told() -> None:
    """What of the address could not be shown; kept until something else is chosen, as a redraw can come at any time."""
    for text, _ in _told().values():
        st.warning(text)


def _tell(name: str, text: str) -> None:
    _told()[name] = (text, time.monotonic())


def _drop_old_words(now: float) -> None:
    """Forget what was said on an earlier visit."""
    st.session_state[_TOLD] = {name: own for name, own in _told().items() if now - own[1] < LATE_SECONDS}


def _told() -> dict[str, tuple[str, float]]:
    return st.session_state.setdefault(_TOLD, {})
