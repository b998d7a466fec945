"""The model, dataset and recipe that all pages share: what one page shows, the next one opens with.

An address that names something itself comes first. `model=` and `data=` are understood by every page that has a model;
Layers has the whole recipe in its address, Export its result, Compare its pins.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import streamlit as st

from compression.service import InputError, ModelInfo, Recipe
from pages.shared.url.bound import by_history
from pages.shared.url.data_choice import data_choice
from pages.shared.url.explored import take_last_move
from pages.shared.url.state import CURRENT, DATA, MODEL

if TYPE_CHECKING:
    from compression.service import Service

_PAGE = "page-in-view"


def current() -> Recipe | None:
    """What was shown last, on whichever page; None at first."""
    recipe = st.session_state.get(CURRENT)
    return recipe if isinstance(recipe, Recipe) else None


def set_current(recipe: Recipe) -> None:
    """Have the other pages open with this recipe."""
    st.session_state[CURRENT] = recipe


def set_current_model(model: str, dataset: str) -> None:
    """Have the other pages open with this model; the recipe stays where it is one of this model and dataset."""
    recipe = current()
    if recipe is None or (recipe.model, recipe.dataset) != (model, dataset):
        set_current(Recipe(model, dataset))


def bare(service: "Service", info: ModelInfo, dataset: str = "") -> Recipe:
    """A model without any step, on a dataset where it can be scored; by default on its usual one."""
    choice = data_choice(service, info)
    return Recipe(info.name, dataset if dataset in choice.names else choice.usual)


def take_link(service: "Service", models: Mapping[str, ModelInfo]) -> Recipe | None:
    """The model that the address names by `model=`, without any step; it is then taken out of the address.

    Raises:
        InputError: if there is no such model.
    """
    name, dataset = (st.query_params.get(key) for key in (MODEL, DATA))
    for key in (MODEL, DATA):
        st.query_params.pop(key, None)
    if name is None:
        return None
    if name not in models:
        raise InputError(MODEL, name, f"available: {', '.join(models)}")
    return bare(service, models[name], dataset or "")


def opens(page: str, names: Collection[str]) -> bool:
    """Whether a page opens with what was shown before.

    It does where it was just come to, or come back to by the browser, with an address that names nothing itself.

    Args:
        page: Its path.
        names: What its address may name.
    """
    came, st.session_state[_PAGE] = st.session_state.get(_PAGE) != page, page
    return (came or by_history()) and not {*names} & {*st.query_params}


def opens_with(
    page: str, names: Collection[str], service: "Service", models: Mapping[str, ModelInfo]
) -> Recipe | None:
    """What a page opens with: the model that its address names by `model=`, else what was shown before.

    Returns:
        None where nobody has chosen anything yet, where the address names something, and on later redraws.

    Raises:
        InputError: if the address names a model that is not there.
    """
    came = st.session_state.get(_PAGE) != page
    if came:
        take_last_move(service, models)
    if not opens(page, names):
        return None
    linked = take_link(service, models)
    if linked is not None:
        set_current(linked)
    return current()


def settle_history() -> None:
    """Draw the page again after what it opens with was put into its widgets.

    While the browser goes back, widgets in the address take what that says, or their defaults.
    """
    if by_history():
        st.rerun()
