"""The pickers of the Layers page, set to what is in view; what they newly name is read in the redraw that follows."""

from collections.abc import Mapping, Sequence

import streamlit as st

from compression.service import InputError, ModelInfo, Recipe, recipe_from_dict, recipe_to_dict
from pages.layers.choice import DATA_PICKER, LAYER_PICKER, MODEL_PICKER, RECIPE_PICKER
from pages.layers.recipe import recipe_text
from pages.layers.state import Measured
from pages.shared.formats import recipe_label, run_name, told_apart
from pages.shared.url.data_choice import data_choice, show_away

_MOST = 200


def show_pickers(models: Sequence[ModelInfo], recipe: Recipe, known: Measured) -> None:
    """Model, dataset where several are here, and recipe: the one in view and those that are measured."""
    infos, texts = {info.name: info for info in models}, _recipes(recipe, known)
    choice = data_choice(known.service, infos[str(recipe.model)])
    several = len(choice.here) > 1
    left, *middle, right = st.columns([1, 1, 3] if several else [1, 3])
    with left:
        _set(MODEL_PICKER, str(recipe.model))
        st.selectbox("Model", list(infos), key=MODEL_PICKER)
    if several:
        _set(DATA_PICKER, recipe.dataset)
        middle[0].selectbox("Dataset", choice.names, key=DATA_PICKER, help=choice.told(recipe.dataset))
    with right:
        _set(RECIPE_PICKER, recipe_text(recipe))
        st.selectbox(
            "Recipe", list(texts), format_func=lambda text: texts.get(text, text), key=RECIPE_PICKER,
            help="The recipe in view, and all measured ones of this model on this dataset, the newest first",
        )
    show_away(choice)


def pick_layer(layers: Sequence[str], selected: str | None) -> None:
    """The picker of the layer in focus."""
    _set(LAYER_PICKER, selected)
    st.selectbox(
        "Layer", list(layers), index=None, key=LAYER_PICKER, placeholder="Choose a layer, or click one above"
    )


def _set(key: str, value: str | None) -> None:
    if st.session_state.get(key) != value:
        st.session_state[key] = value


def _recipes(recipe: Recipe, known: Measured) -> Mapping[str, str]:
    """Recipes to choose from, as they stand in the address, with their names."""
    texts = {recipe_text(recipe): f"{recipe_label(recipe_to_dict(recipe))} (not measured yet)"}
    for own in list(reversed(known.results))[:_MOST]:
        try:
            texts.setdefault(recipe_text(recipe_from_dict(own.recipe)), run_name(own))
        except InputError:  # of an older version
            continue
    found = known.of(recipe)
    if found is not None:
        texts[recipe_text(recipe)] = run_name(found)
    return told_apart(texts)
