"""Which curves are drawn: those of the recipe's techniques, without the hidden ones, and others for comparison."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from compression.service import Recipe, Technique
from pages.explore.key_list import pick_keys
from pages.shared.url.bound import bound
from pages.shared.url.changes import ask

ALONE, AROUND = "each technique alone", "around the current recipe"
_CURVES, _ALSO, _HIDE = "curves", "also", "hide"


@dataclass(frozen=True)
class CurvesShown:
    """What a person wants to see drawn.

    Attributes:
        together: Curves around the current recipe instead of each technique alone.
        also: Techniques whose curves are drawn for comparison.
        hidden: Techniques whose curves are left out.
    """

    together: bool = False
    also: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


def curves_choice(recipe: Recipe | None, techniques: Sequence[Technique]) -> CurvesShown:
    """Ask which curves are drawn. The choice is part of the address; what a recipe does not have is ignored there."""
    titles = {technique.key: technique.title for technique in techniques}
    steps = [step.technique for step in recipe.steps] if recipe is not None else []
    others = [key for key in titles if key not in steps]
    with st.popover("Curves", icon=":material/timeline:"):
        also = pick_keys(
            "Add curves for comparison", _ALSO, titles, placeholder="no other technique",
            help="Their curves are dotted; the recipe stays as it is.",
        )
        hidden = pick_keys(
            "Hide curves", _HIDE, titles, placeholder="nothing hidden", help="These curves are not measured either.",
        )
        added = [key for key in also if key in others]
        st.button(
            "Combine into one recipe", key="combine", icon=":material/merge:", disabled=not added, on_click=_combine,
            args=(added,), help="Switches the techniques that are also drawn on, each with its sliders as they stand",
        )
    together = False
    if len(steps) > 1 or (steps and added):
        around = st.segmented_control(
            "Curves", [ALONE, AROUND], default=ALONE, **bound(_CURVES), required=True, label_visibility="collapsed",
        )
        together = around == AROUND
    return CurvesShown(together, tuple(also), tuple(hidden))


def _combine(keys: Sequence[str]) -> None:
    ask(dict.fromkeys(keys, True) | {_ALSO: []})
