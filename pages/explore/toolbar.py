"""Buttons above the results: presets, undo, redo, and back to the uncompressed model."""

from collections.abc import Callable, Sequence

import streamlit as st

from compression.service import Figures, ModelInfo, Technique
from pages.explore.history import History, show_buttons
from pages.explore.presets import PRESETS, Preset, missing_told, preset_limits, preset_told, preset_values, reset_values
from pages.explore.view import clear_selection
from pages.shared.url.changes import ask, tell

Baseline = Callable[[], Figures | None]


def show_toolbar(info: ModelInfo, techniques: Sequence[Technique], history: History, baseline: Baseline) -> None:
    """Draw them.

    Args:
        info: The chosen model.
        techniques: All techniques.
        history: What the sliders said before.
        baseline: Reads the uncompressed model's figures, which may have come since the page was drawn.
    """
    with st.popover("Presets", icon=":material/tune:"):
        for preset in PRESETS:
            st.button(
                preset.title, key=f"preset-{preset.key}", on_click=_take, args=(preset, info, techniques, baseline),
                width="stretch",
            )
            st.caption(preset.says)
    show_buttons(history)
    st.button(
        "Reset to baseline", key="reset", icon=":material/restart_alt:", on_click=_reset, args=(info, techniques),
        help="Switches all techniques off and takes all limits away; Undo brings them back",
    )


def _take(preset: Preset, info: ModelInfo, techniques: Sequence[Technique], baseline: Baseline) -> None:
    figures = baseline()
    ask(preset_values(preset, info, techniques, figures))
    clear_selection()
    tell(preset_told(preset, preset_limits(preset, figures)) + missing_told(preset, figures), "info")


def _reset(info: ModelInfo, techniques: Sequence[Technique]) -> None:
    ask(reset_values(info, techniques))
    clear_selection()
