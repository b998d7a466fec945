"""The recipe of Explore's sliders for other pages, also where somebody left before Explore was drawn with the last."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from compression.service import InputError, ModelInfo, Recipe, Technique, default_of, knobs_of
from pages.shared.url.data_choice import data_choice
from pages.shared.url.state import (
    CURRENT,
    DATA,
    MODEL,
    Controls,
    extra_of,
    knob_key,
    order_text,
    recipe_of,
    recipe_widgets,
)

if TYPE_CHECKING:
    from compression.service import Service

_NOTED = "explored"


def note(recipe: Recipe, techniques: Sequence[Technique]) -> None:
    """Note what Explore shows as soon as that is known: a redraw can be cut off at any later moment."""
    st.session_state[CURRENT] = recipe
    st.session_state[_NOTED] = (recipe, recipe_widgets(st.session_state, techniques))


def take_last_move(service: "Service", models: Mapping[str, ModelInfo]) -> None:
    """Make the recipe current that Explore's sliders describe, if they have been moved since Explore noted one.

    The session knows where they stand even if Explore was never drawn with it.
    """
    state, techniques = st.session_state, service.techniques()
    noted, before = state.get(_NOTED, (None, {}))
    now = recipe_widgets(st.session_state, techniques)
    if noted is None or now == before or now[MODEL] not in models:
        return
    try:
        moved = _recipe(now, noted, service, models[now[MODEL]])
    except InputError:  # Explore would have said so
        return
    state[CURRENT], state[_NOTED] = moved, (moved, now)


def _recipe(values: Mapping[str, Any], noted: Recipe, service: "Service", info: ModelInfo) -> Recipe:
    """What they describe; what has no widget is as it was."""
    techniques, choice = service.techniques(), data_choice(service, info)
    enabled = {
        own.key: {
            name: values.get(knob_key(own.key, name), default_of(own.config_type, name))
            for name in knobs_of(own.config_type)
        }
        for own in techniques if values[own.key]
    }
    dataset = values[DATA] if values[DATA] in choice.names else choice.usual
    order = [key for key in order_text(noted.steps, techniques).split(",") if key]
    return recipe_of(Controls(info.name, dataset, enabled, extra_of(noted), order), techniques)
