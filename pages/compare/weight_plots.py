"""Weights of pinned results, layer by layer: bytes, zeros and histograms. Statistics in, figures out."""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from compression.analysis.weight_statistics import LayerWeights
from compression.service import ExperimentResult
from pages.shared.figure_style import legible
from pages.shared.palette import VARIANTS, Theme, faint

Statistics = Mapping[str, Sequence[LayerWeights]]


def layers_figure(table: pd.DataFrame, title: str, percentage: bool = False, theme: Theme = "light") -> go.Figure:
    """A number per layer, one colour per result: from above down in the order of the network.

    Args:
        table: One row per layer, one column per result.
        title: What the numbers are.
        percentage: Whether they are percentages.
        theme: Light or dark.
    """
    figure = go.Figure()
    for number, letter in enumerate(table.columns):
        figure.add_trace(
            go.Scatter(
                x=list(table.index), y=table[letter].tolist(), name=str(letter), mode="lines+markers",
                line={"color": VARIANTS[number % len(VARIANTS)], "width": 1.5, "shape": "hvh"}, connectgaps=False,
            )
        )
    figure.update_layout(
        height=340, margin={"l": 8, "r": 8, "t": 8, "b": 8}, hovermode="x unified", plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.08},
    )
    figure.update_xaxes(type="category", showgrid=False, tickangle=-60)
    figure.update_yaxes(
        title=title, rangemode="tozero", tickformat="~g" if percentage else "~s", ticksuffix=" %" if percentage else "",
    )
    return legible(figure, theme)


def sparsity_table(results: Sequence[ExperimentResult]) -> pd.DataFrame:
    """Percentage of zero weights per layer, one column per result; empty where a result has no such layer."""
    columns = {chr(65 + i): {layer.fqn: 100 * layer.sparsity for layer in r.layers} for i, r in enumerate(results)}
    order = list(dict.fromkeys(layer.fqn for r in results for layer in r.layers))
    return pd.DataFrame(columns).reindex(order)


def layer_names(statistics: Statistics) -> list[str]:
    """Layers of all results in the order of the network."""
    return list(dict.fromkeys(layer.fqn for own in statistics.values() for layer in own))


def histogram_figure(statistics: Statistics, fqn: str, theme: Theme = "light") -> go.Figure:
    """One layer's weights in each result, and in the uncompressed model behind them, in percent per bin.

    They are on a logarithmic axis: a pruned layer is mostly zeros.
    """
    figure = go.Figure()
    shown = [(letter, layer) for letter, own in statistics.items() for layer in own if layer.fqn == fqn]
    first = next((layer for _, layer in shown if sum(layer.before)), None)
    if first is not None:
        figure.add_trace(
            go.Bar(x=_middles(first), y=_shares(first.before), name="uncompressed", marker={"color": faint(theme)})
        )
    letters = list(statistics)
    for letter, layer in shown:
        color = VARIANTS[letters.index(letter) % len(VARIANTS)]
        figure.add_trace(
            go.Scatter(
                x=_middles(layer), y=_shares(layer.after), name=letter, mode="lines+markers",
                line={"color": color, "shape": "hvh", "width": 1.5}, marker={"size": 4},
            )
        )
    figure.update_layout(
        height=340, margin={"l": 8, "r": 8, "t": 8, "b": 8}, bargap=0, plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": 1.08},
    )
    figure.update_xaxes(title="weight", zerolinecolor=faint(theme), showgrid=False)
    figure.update_yaxes(
        title="share of the layer's weights", type="log", tickformat="~g", ticksuffix=" %", dtick=1,
    )
    return legible(figure, theme)


def _middles(layer: LayerWeights) -> list[float]:
    width = 2 * layer.reach / len(layer.after)
    return [-layer.reach + width * (i + 0.5) for i in range(len(layer.after))]


def _shares(counts: Sequence[int]) -> list[float | None]:
    total = sum(counts)
    return [100 * count / total if count else None for count in counts]


def statistics_table(statistics: Statistics, fqn: str) -> pd.DataFrame:
    """One layer's weights in figures, one row per result; the text alternative of the histogram."""
    rows = {
        letter: {
            "weights": layer.weights, "zeros": 100 * layer.zeros, "different values": layer.distinct,
            "made of": "itself" if layer.factors == 1 else f"{layer.factors} factors",
        }
        if layer.weights else {"weights": 0, "zeros": None, "different values": 0, "made of": "gone"}
        for letter, own in statistics.items() for layer in own if layer.fqn == fqn
    }
    return pd.DataFrame.from_dict(rows, orient="index")
