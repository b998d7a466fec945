"""Figures of the Layers page: sensitivities, shares and distributions. Data in, plotly figures out."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from compression.experiments.results import ACCURACY, Quality
from compression.service import PREDICTION_BASIS, LayerRecord, SensitivityMap, format_bytes, get_technique
from pages.layers.sensitivity_scale import color_range, color_ticks, log_error, ranked, varied_knob
from pages.shared.figure_style import legible
from pages.shared.formats import count, knob_value, percent
from pages.shared.palette import VARIANTS, Theme, faint, ink, pale, technique_color

if TYPE_CHECKING:
    from compression.analysis.distribution import Distribution

BYTES, MACS, WEIGHTS = "bytes", "MACs", "weights"
QUANTITIES = (BYTES, MACS, WEIGHTS)
REST, ROOT = "(rest)", "(whole)"
ESTIMATED = f"estimated ({PREDICTION_BASIS})"
_SCALE = "Cividis"
_ROW, _TOP, _BOTTOM, _KNOB = 17, 64, 66, 42
_CLEAR = "rgba(0,0,0,0)"
_SHORT = 8  # letters over the colour bar


def map_columns(maps: Sequence[SensitivityMap]) -> list[tuple[str, Any]]:
    """Columns of the map: technique and strength, weakest first."""
    return [(own.technique, value) for own in maps for value in own.strengths]


def map_layers(maps: Sequence[SensitivityMap], layers: Sequence[str], *, by_rank: bool = False) -> list[str]:
    """Its rows: the layers of the map, or those of the model while it has none; by rank what has no cell is last."""
    found = list(next((own.layers for own in maps if own.layers), layers))
    return list(dict.fromkeys([*ranked(maps), *found])) if by_rank else found


def sensitivity_figure(
    maps: Sequence[SensitivityMap], layers: Sequence[str], selected: str | None = None, theme: Theme = "light",
    *, by_rank: bool = False, unit: str = "nats", quality: Quality = ACCURACY,
) -> go.Figure:
    """Error of the network when one layer alone is compressed, layer by technique and strength.

    Colours go by the logarithm of the error, over the range that most of this map has: see `color_range`. Predicted
    cells carry a dot and say so; cells that are neither measured nor predicted are blank; crosses are layers on which a
    technique cannot act. Over each cell lies an invisible point, its layer as `customdata`; a click takes the nearest.

    Args:
        maps: One per technique.
        layers: The model's layers, for maps that have not been begun.
        selected: Layer whose row is framed.
        theme: Light or dark.
        by_rank: Whether the most sensitive layer comes first; else they are in the model's order.
        unit: Of the errors.
        quality: By what models of this task are compared.
    """
    rows, columns = map_layers(maps, layers, by_rank=by_rank), map_columns(maps)
    row_of, column_of = {fqn: i for i, fqn in enumerate(rows)}, {own: i for i, own in enumerate(columns)}
    errors: list[list[float | None]] = [[None] * len(columns) for _ in rows]
    points, predicted, gaps, blanks = _Points(), _Points(), _Points(), _Points()
    for own in maps:
        for row in own.known:
            y, x = row_of[row.fqn], column_of[row.technique, row.value]
            errors[y][x] = log_error(row.error)
            estimated = row in own.predicted
            (predicted if estimated else points).add(
                x, y, row.fqn, f"<b>{row.fqn}</b><br>{varied_knob(own.technique)}: {knob_value(row.value)}<br>"
                f"error {row.error:.2g} {unit}<br>{quality.word}: {quality.difference(-row.accuracy_drop)}<br>"
                f"{format_bytes(row.size_bytes)}, {count(row.macs)} MACs in this layer<br>"
                f"{ESTIMATED if estimated else 'measured'}",
            )
        for fqn, reason in own.gaps.items():
            for value in own.strengths:
                gaps.add(column_of[own.technique, value], row_of[fqn], fqn, f"<b>{fqn}</b><br>{reason}")
        for fqn in (name for name in rows if name not in own.gaps):
            for value in own.strengths:
                y, x = row_of[fqn], column_of[own.technique, value]
                if errors[y][x] is None:
                    blanks.add(x, y, fqn, f"<b>{fqn}</b><br>not measured yet")
    figure = go.Figure(go.Heatmap(
        z=errors, x=list(range(len(columns))), y=list(range(len(rows))), coloraxis="coloraxis", xgap=1, ygap=1,
        hoverinfo="skip", name="error",
    ))
    unseen = {"symbol": "square", "size": _ROW, "color": _CLEAR}
    figure.add_trace(points.trace("cells", unseen))
    dot = {"symbol": "circle", "size": 4, "color": faint(theme), "line": {"width": 0.5, "color": ink(theme)}}
    figure.add_trace(gaps.trace("gaps", {"symbol": "x-thin", "size": 7, "line": {"width": 1.5, "color": faint(theme)}}))
    figure.add_trace(blanks.trace("blanks", unseen))
    if predicted.x:
        figure.add_trace(predicted.trace("estimated", dot))
    _dress(figure, maps, rows, columns, theme, unit if len(unit) < _SHORT else "error")
    if selected in row_of:
        y = row_of[selected]
        edges = {"x0": -0.5, "x1": len(columns) - 0.5, "y0": y - 0.5, "y1": y + 0.5}
        for color, width in ((ink("light" if theme == "dark" else "dark"), 5), (ink(theme), 2)):  # seen on any cell
            figure.add_shape(type="rect", line={"color": color, "width": width}, **edges)
    return legible(figure, theme)


class _Points:
    """Points over cells, with what is said of each."""

    def __init__(self) -> None:
        self.x: list[int] = []
        self.y: list[int] = []
        self.layers: list[str] = []
        self.texts: list[str] = []

    def add(self, x: int, y: int, fqn: str, text: str) -> None:
        self.x.append(x)
        self.y.append(y)
        self.layers.append(fqn)
        self.texts.append(text)

    def trace(self, name: str, marker: Mapping[str, Any]) -> go.Scatter:
        unchanged = {"marker": {"opacity": 1}}
        return go.Scatter(
            x=self.x, y=self.y, mode="markers", name=name, customdata=self.layers, text=self.texts,
            hovertemplate="%{text}<extra></extra>", marker=dict(marker), selected=unchanged, unselected=unchanged,
        )


def _dress(
    figure: go.Figure, maps: Sequence[SensitivityMap], rows: Sequence[str], columns: Sequence[tuple[str, Any]],
    theme: Theme, scale: str,
) -> None:
    start = 0
    for own in maps:
        end = start + len(own.strengths)
        figure.add_annotation(
            x=(start + end - 1) / 2, y=1, yref="paper", yanchor="bottom", showarrow=False, yshift=4,
            text=get_technique(own.technique).title.replace(" ", "<br>"), font={"color": ink(theme), "size": 12},
        )
        figure.add_annotation(
            x=(start + end - 1) / 2, y=0, yref="paper", yanchor="top", showarrow=False, yshift=-_KNOB,
            text=varied_knob(own.technique), font={"color": ink(theme), "size": 11},
        )
        if start:
            figure.add_vline(x=start - 0.5, line={"color": ink(theme), "width": 1})
        start = end
    low, high = color_range(maps)
    ticks = color_ticks(low, high)
    figure.update_layout(
        height=_TOP + _BOTTOM + _ROW * max(len(rows), 4), margin={"l": 8, "r": 8, "t": _TOP, "b": _BOTTOM},
        showlegend=False, plot_bgcolor=_CLEAR, hovermode="closest",
        hoverdistance=-1, coloraxis={
            "colorscale": _SCALE, "cmin": low, "cmax": high,
            "colorbar": {
                "title": {"text": f"{scale}, log", "side": "top", "font": {"color": ink(theme)}},
                "tickfont": {"color": ink(theme)}, "thickness": 10, "xpad": 4,
                "tickvals": [place for place, _ in ticks], "ticktext": [text for _, text in ticks],
            },
        },
    )
    figure.update_xaxes(
        tickvals=list(range(len(columns))), ticktext=[knob_value(value) for _, value in columns], showgrid=False,
        zeroline=False, range=[-0.5, len(columns) - 0.5], autotickangles=[0, -90], fixedrange=True,
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=list(rows), showgrid=False, zeroline=False,
        range=[len(rows) - 0.5, -0.5], automargin=True, fixedrange=True, tickfont={"size": 11},
    )


def quantity_of(layer: LayerRecord, quantity: str) -> int:
    """Packed bytes, multiply-accumulates or number of weights of a layer."""
    return {BYTES: layer.packed_bytes, MACS: layer.macs, WEIGHTS: math.prod(layer.shape)}[quantity]


def share_figure(
    layers: Sequence[LayerRecord], total: int, quantity: str, selected: str | None = None, theme: Theme = "light"
) -> go.Figure:
    """Share of each layer, grouped by the blocks that their names tell; ids are fqns and blocks' names.

    Args:
        layers: Layers of one artifact.
        total: What the whole model has; what is in no layer is shown as the rest.
        quantity: One of `QUANTITIES`.
        selected: Layer that is framed.
        theme: Light or dark.
    """
    own = {layer.fqn: quantity_of(layer, quantity) for layer in layers}
    values = {**own, REST: max(0, total - sum(own.values()))}
    parents: dict[str, str] = {ROOT: ""}
    for fqn in values:
        _add_blocks(fqn, parents)
    sums = dict.fromkeys(parents, 0)
    for fqn, value in values.items():
        place = fqn
        while place:
            sums[place] += value
            place = parents[place]
    tops = [place for place, parent in parents.items() if parent == ROOT and place != REST]
    colors = {place: VARIANTS[i % len(VARIANTS)] for i, place in enumerate(tops)}
    shown = {MACS: count, WEIGHTS: count, BYTES: format_bytes}[quantity]
    whole = max(sums[ROOT], 1)
    figure = go.Figure(go.Treemap(
        ids=list(parents), parents=list(parents.values()), values=[sums[place] for place in parents],
        labels=[place.rpartition(".")[2] if place not in (ROOT, REST) else _NAMES[place] for place in parents],
        branchvalues="total", sort=False, pathbar={"visible": False}, tiling={"pad": 2},
        customdata=[[place.strip("()"), shown(sums[place]), percent(sums[place] / whole)] for place in parents],
        texttemplate="%{label}<br>%{customdata[1]}", textfont={"color": ink(theme)},
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]} " + ("" if quantity == BYTES else quantity)
        + "<br>%{customdata[2]} of the model<extra></extra>",
        marker={
            "colors": [_shade_of(place, parents, colors, theme) for place in parents],
            "line": {
                "width": [3 if place == selected else 1 for place in parents],
                "color": [ink(theme) if place == selected else faint(theme) for place in parents],
            },
        },
    ))
    figure.update_layout(height=420, margin={"l": 4, "r": 4, "t": 4, "b": 4})
    return figure


_NAMES = {ROOT: "whole model", REST: "rest"}


def _add_blocks(fqn: str, parents: dict[str, str]) -> None:
    """A layer and the blocks around it; a block's name is what stands before a dot."""
    while fqn != ROOT and fqn not in parents:
        block = fqn.rpartition(".")[0] or ROOT
        parents[fqn] = block
        fqn = block


def _shade_of(place: str, parents: Mapping[str, str], colors: Mapping[str, str], theme: Theme) -> str:
    if place in (ROOT, REST):
        return _CLEAR if place == ROOT else faint(theme)
    top = place
    while parents[top] != ROOT:
        top = parents[top]
    return pale(colors[top], 0.45)


def distribution_figure(
    own: "Distribution", technique: str | None, title: str, theme: Theme = "light"
) -> go.Figure:
    """Histogram of the values before, as an outline, and after, filled; counts on a logarithmic axis.

    Args:
        own: What is drawn.
        technique: Whose colour the values after have; None where nothing was done.
        title: Name of the values.
        theme: Light or dark.
    """
    middles = [(a + b) / 2 for a, b in zip(own.edges, own.edges[1:], strict=False)]
    figure = go.Figure()
    if own.after is not None and technique is not None:
        figure.add_trace(go.Bar(
            x=middles, y=list(own.after.counts), name="after", marker={"color": technique_color(technique, theme)},
            opacity=0.75, hovertemplate="%{x:.3g}: %{y:,}<extra>after</extra>",
        ))
    figure.add_trace(go.Scatter(
        x=middles, y=[n or None for n in own.before.counts], name="before", mode="lines", connectgaps=False,
        line={"color": ink(theme), "width": 1.5, "shape": "hvh"}, hovertemplate="%{x:.3g}: %{y:,}<extra>before</extra>",
    ))
    figure.update_layout(
        height=240, margin={"l": 8, "r": 8, "t": 30, "b": 8}, bargap=0, plot_bgcolor=_CLEAR, hovermode="x",
        title={"text": title, "font": {"size": 14}}, showlegend=technique is not None,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "right", "x": 1.0},
    )
    figure.update_yaxes(type="log", exponentformat="power", dtick=1, gridcolor=faint(theme), gridwidth=0.5)
    figure.update_xaxes(zerolinecolor=faint(theme), nticks=6)
    return legible(figure, theme)
