"""What all plots with axes have in common."""

import plotly.graph_objects as go

from pages.components.palette import Theme, ink


def legible(figure: go.Figure, theme: Theme) -> go.Figure:
    """Write the axes' titles and numbers in the page's ink: Streamlit's own grey is too faint on a light page."""
    style = {"tickfont_color": ink(theme), "title_font_color": ink(theme)}
    return figure.update_xaxes(style).update_yaxes(style)
