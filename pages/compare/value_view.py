"""Compare's view of a regression: change of R2 and of the mean absolute error, and the distribution of errors."""

from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

from compression.analysis.differences import Difference
from compression.analysis.value_change import ValueChange
from pages.compare.difference_plots import gallery
from pages.shared.figure_style import legible
from pages.shared.palette import VARIANTS, Theme, ink

_SHOWN = 24


def value_line(change: ValueChange, second: str, first: str) -> str:
    """Changes with their intervals; says so where it is a tie."""
    verdict = "a tie" if change.tied else ("better" if change.r2 > 0 else "worse")
    return (
        f"**{second}** against **{first}**: R2 {change.r2:+.4f} ({change.r2_low:+.4f} to {change.r2_high:+.4f}), "
        f"{verdict}. Mean absolute error {change.error:+.3g} ({change.error_low:+.3g} to {change.error_high:+.3g})."
    )


def errors_figure(known: Sequence[tuple[str, Difference]], first: str, theme: Theme = "light") -> go.Figure:
    """Errors (prediction minus value) of the first artifact and of the others as lines."""
    figure = go.Figure()
    for number, (letter, difference) in enumerate(known):
        change = difference.values
        if change is None:
            continue
        middles = [(low + high) / 2 for low, high in zip(change.edges, change.edges[1:], strict=False)]
        if not number:
            figure.add_trace(_line(middles, change.before, first, ink(theme)))
        figure.add_trace(_line(middles, change.after, letter, VARIANTS[number % len(VARIANTS)]))
    figure.update_layout(height=280, margin={"l": 8, "r": 8, "t": 8, "b": 8}, legend={"orientation": "h", "y": 1.15})
    figure.update_xaxes(title="Prediction minus value")
    figure.update_yaxes(title="Samples")
    return legible(figure, theme)


def _line(middles: Sequence[float], counts: Sequence[int], name: str, color: str) -> go.Scatter:
    return go.Scatter(x=list(middles), y=list(counts), name=name, mode="lines", line={"color": color, "shape": "hvh"})


def show_values(known: Sequence[tuple[str, Difference]], first: str, theme: Theme) -> None:
    """What the others do otherwise than the first, where values are predicted."""
    for letter, difference in known:
        if difference.values is not None:
            st.markdown(value_line(difference.values, letter, first))
    st.caption("95 % intervals of paired differences: all saw the same samples. A regression has no confusion matrix.")
    st.plotly_chart(
        errors_figure(known, first, theme), key="errors", config={"displayModeBar": False},
        alt="Distribution of the errors of each artifact",
    )
    for letter, difference in known:
        more = [own for own in difference.examples if own.kind == "lost"][:_SHOWN]
        if more:
            st.markdown(f"**Errors that grew most from {first} to {letter}**")
            st.html(gallery(more))
            st.caption(f"Bold is the value; then the predictions, {first} \u2192 {letter}.")
