"""The order of a recipe's steps: the suggested one, or any other."""

from collections.abc import Sequence

import streamlit as st

from compression.service import Step, Technique
from pages.shared.url.changes import ask
from pages.shared.url.state import ORDER, in_suggested_order


def show_order(steps: Sequence[Step], techniques: Sequence[Technique]) -> None:
    """The steps in their order, each with a button that moves it up; and the way back to the suggested order."""
    if len(steps) < 2:
        return
    titles = {technique.key: technique.title for technique in techniques}
    keys = [step.technique for step in steps]
    suggested = [step.technique for step in in_suggested_order(steps, techniques)]
    own = keys != suggested
    with st.expander("Order of the steps" + (": not the suggested one" if own else ""), key="steps-order"):
        for place, key in enumerate(keys):
            with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"step-{key}"):
                st.markdown(f"{place + 1}. {titles[key]}", width="stretch")
                if place:
                    st.button(
                        "Move up", key=f"up-{key}", icon=":material/arrow_upward:", type="tertiary",
                        help=f"Apply {titles[key].lower()} before {titles[keys[place - 1]].lower()}",
                        on_click=_set, args=(moved_up(keys, place), suggested),
                    )
        if own:
            st.caption("Suggested: " + ", then ".join(titles[key].lower() for key in suggested))
            st.button(
                "Suggested order", key="suggested-order", icon=":material/low_priority:", on_click=_set,
                args=(suggested, suggested), help="The order in which these steps go together best",
            )


def moved_up(keys: Sequence[str], place: int) -> list[str]:
    """Keys with the one at a place before its predecessor."""
    return [*keys[: place - 1], keys[place], keys[place - 1], *keys[place + 1 :]]


def _set(keys: Sequence[str], suggested: Sequence[str]) -> None:
    ask({ORDER: "" if list(keys) == list(suggested) else ",".join(keys)})
