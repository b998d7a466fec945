"""What all plots with axes have in common."""

from collections.abc import Sequence

import plotly.graph_objects as go

from pages.shared.palette import Theme, ink

_WIDE = 5  # times that a logarithmic axis spans before only some of its digits are written


def legible(figure: go.Figure, theme: Theme) -> go.Figure:
    """Write the axes' titles and numbers in the page's ink: Streamlit's own grey is too faint on a light page."""
    style = {"tickfont_color": ink(theme), "title_font_color": ink(theme)}
    return figure.update_xaxes(style).update_yaxes(style)


def space_log_numbers(figure: go.Figure, values: Sequence[float]) -> go.Figure:
    """Write 1, 2 and 5 along a logarithmic x axis that spans much: left to itself plotly writes every digit, one over
    another. Around a single value plotly draws two decades."""
    if not values or min(values) < max(values) <= _WIDE * min(values):
        return figure
    return figure.update_xaxes(dtick="D2")
