"""Pareto plots: marks in, a plotly figure out. No Streamlit here."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Literal

import plotly.graph_objects as go

from compression.analysis.pareto import Measured, frontier, knee
from compression.experiments.pairing import AccuracyChange, Scores, accuracy_differences
from compression.service import ExperimentResult, Figures
from pages.shared.axes import ACCURACY, Axis, percent_axis
from pages.shared.figure_style import legible, space_log_numbers
from pages.shared.formats import recipe_label, recipe_lines
from pages.shared.palette import Theme, faint, ink, pale, shade, technique_color, technique_symbol

_WRAP = 60
_MARGIN = 0.08
_MANY = 400
_PALE = 0.3


@dataclass(frozen=True)
class Mark:
    """One measured artifact on a plot.

    Attributes:
        id: Key of its result.
        kind: "baseline", "current" (the sliders' recipe) or "sweep".
        series: Technique whose curve it lies on; empty for others.
        title: Name of the series.
        figures: Its numbers.
        recipe: The whole recipe, line by line.
        label: The recipe in short.
        settled: Whether its intervals are final.
        scores: Which predictions were right, where that is known: accuracies are then compared sample by sample.
        change: Accuracy minus the uncompressed model's on the same samples, with its paired interval, where known.
    """

    id: str
    kind: Literal["baseline", "current", "sweep"]
    series: str
    title: str
    figures: Figures
    recipe: tuple[str, ...]
    label: str
    settled: bool = True
    scores: Scores | None = field(default=None, compare=False)
    change: AccuracyChange | None = None


def mark_of(
    result: ExperimentResult, kind: Literal["baseline", "current", "sweep"], series: str = "", title: str = "",
    scores: Scores | None = None,
) -> Mark:
    """A result as a mark."""
    lines = tuple(recipe_lines(result.recipe))
    label = recipe_label(result.recipe)
    return Mark(
        result.key, kind, series, title, result.figures, lines, label, result.stage == "full", scores, result.change
    )


def drawable(marks: Sequence[Mark], x: Axis, y: Axis) -> list[Mark]:
    """Marks that have both numbers."""
    return [m for m in marks if x.read(m.figures) is not None and y.read(m.figures) is not None]


def frontier_ids(marks: Sequence[Mark], x: Axis, y: Axis) -> list[str]:
    """Ids of the marks that no other beats, in the order of the x axis; ties all stay."""
    unique = list({mark.id: mark for mark in drawable(marks, x, y)}.values())
    rows = [[_known(x.objective(m.figures)), _known(y.objective(m.figures))] for m in unique]
    paired = {1: accuracy_differences(tuple(m.scores for m in unique)).negated()} if y is ACCURACY and unique else None
    return [unique[i].id for i in frontier(rows, paired)]


def pareto_figure(
    marks: Sequence[Mark], x: Axis, y: Axis, *, selected: str | None = None, log_x: bool = False,
    theme: Theme = "light", bounds: tuple[float | None, float | None] = (None, None),
    inside: Collection[str] | None = None, asides: Collection[str] = (),
) -> go.Figure:
    """One Pareto plot: a curve per technique, the baseline as a star, the current recipe, the frontier, error bars.

    The frontier's knee is named; what lies beyond a bound is shaded, and points that break any limit are pale. With
    many marks the curves are drawn on a canvas of their own, which stays smooth.

    Args:
        marks: All marks; those without a number on either axis are left out.
        x: The cost.
        y: The quality.
        selected: Id of the mark to ring.
        log_x: Logarithmic x axis.
        theme: Colours for a light or a dark page.
        bounds: Limits set on x and y, in their units.
        inside: Ids of the marks within all limits; None where there is none.
        asides: Series that are drawn for comparison only, dotted.
    """
    shown = drawable(marks, x, y)
    kind = go.Scattergl if len(shown) > _MANY else go.Scatter
    figure = go.Figure()
    _add_frontier(figure, shown, x, y, log_x, theme)
    for series in dict.fromkeys(m.series for m in shown if m.kind == "sweep"):
        own = [m for m in shown if m.kind == "sweep" and m.series == series]
        style = {"color": technique_color(series, theme), "symbol": technique_symbol(series), "size": 9}
        style["opacity"] = [1.0 if inside is None or m.id in inside else _PALE for m in own]
        curve = _trace(own, x, y, own[0].title, style, line="dot" if series in asides else "solid", kind=kind)
        figure.add_trace(curve)
    current = [m for m in shown if m.kind == "current"]
    if current:
        style = {"color": ink(theme), "symbol": "diamond-open", "size": 17, "line": {"width": 2.5}}
        figure.add_trace(_trace(current, x, y, "Current recipe", style))
    baseline = [m for m in shown if m.kind == "baseline"]
    if baseline:
        style = {"color": ink(theme), "symbol": "star", "size": 15}
        figure.add_trace(_trace(baseline, x, y, "Uncompressed (fp32)", style))
    ringed = [m for m in shown if m.id == selected][:1]
    if ringed:
        style = {"color": ink(theme), "symbol": "circle-open", "size": 24, "line": {"width": 2}}
        figure.add_trace(_trace(ringed, x, y, "Selected", style, bars=False))
    _lay_out(figure, x, y, log_x, theme)
    if log_x:
        space_log_numbers(figure, [_known(x.read(mark.figures)).value for mark in shown])
    if y.unit == "%":
        figure.update_yaxes(percent_axis(_known(y.read(mark.figures)).low for mark in shown))
    for axis, bound, direction in ((x, bounds[0], "x"), (y, bounds[1], "y")):
        if bound is not None:
            _shade(figure, shown, axis, bound, direction, theme, log_x)
    return legible(figure, theme)


def _shade(
    figure: go.Figure, marks: Sequence[Mark], axis: Axis, bound: float, direction: str, theme: Theme, log_x: bool
) -> None:
    """Shade what lies beyond a limit and draw its edge: above a ceiling, below a floor, as far as there are points."""
    other = "y" if direction == "x" else "x"
    span = {f"{other}ref": "paper", f"{other}0": 0, f"{other}1": 1}
    ends = [_known(axis.read(mark.figures)) for mark in marks]
    high = max([bound, *(end.high for end in ends)])
    low = min([bound, *(end.low for end in ends)])
    far = high + (high - low) * _MARGIN + bound * 1e-3 if axis.less_is_better else low - (high - low) * _MARGIN
    figure.add_shape(
        type="rect", layer="below", line_width=0, fillcolor=shade(theme), **span,
        **{f"{direction}0": bound, f"{direction}1": far},
    )
    unit = f" {axis.unit}" if axis.unit else ""
    figure.add_shape(
        type="line", layer="below", line={"color": ink(theme), "width": 1.5, "dash": "dash"}, **span,
        **{f"{direction}0": bound, f"{direction}1": bound},
    )
    text = f"at {'most' if axis.less_is_better else 'least'} {bound:.4g}{unit}"
    place: dict[str, object] = {"x": 1, "xref": "paper", "xanchor": "right", "y": bound}
    place["yanchor"] = "bottom" if axis.less_is_better else "top"  # beyond the limit: the uncompressed model is near it
    if direction == "x":  # beside the line, on the side that has room for it
        edge = bound if not log_x else math.log10(bound) if bound > 0 else None
        if edge is None:
            return
        side = "right" if bound > low + (high - low) / 2 else "left"
        place = {"x": edge, "xanchor": side, "y": 1, "yref": "paper", "yanchor": "top"}
    figure.add_annotation(text=text, showarrow=False, font={"size": 11, "color": ink(theme)}, name="limit", **place)


def _add_frontier(figure: go.Figure, shown: Sequence[Mark], x: Axis, y: Axis, log_x: bool, theme: Theme) -> None:
    by_id = {m.id: m for m in shown}
    front = [by_id[own] for own in frontier_ids(shown, x, y)]
    if not front:
        return
    figure.add_trace(
        go.Scatter(
            x=[_known(x.read(m.figures)).value for m in front], y=[_known(y.read(m.figures)).value for m in front],
            mode="lines+markers", name="Frontier", hoverinfo="skip",
            line={"color": faint(theme), "width": 8}, marker={"color": faint(theme), "size": 19},
        )
    )
    values = [[_known(axis.objective(m.figures)).value for axis in (x, y)] for m in front]
    bend = knee(values)
    if bend is not None:
        across, up = (_known(axis.read(front[bend].figures)).value for axis in (x, y))
        # On a logarithmic axis its place is that of the logarithm. The label lies as far to the right as below: plotly
        # looks along that diagonal for the label's edges, and where it meets a corner of the label draws no line.
        figure.add_annotation(
            x=math.log10(across) if log_x else across, y=up, text="knee", showarrow=True, arrowhead=0, ax=26,
            ay=26, font={"color": ink(theme)}, arrowcolor=ink(theme), name="knee",
        )


def _trace(
    marks: Sequence[Mark], x: Axis, y: Axis, name: str, marker: dict[str, object], *, line: str | None = None,
    bars: bool = True, kind: type[go.Scatter] | type[go.Scattergl] = go.Scatter,
) -> go.Scatter | go.Scattergl:
    xs = [_known(x.read(m.figures)) for m in marks]
    ys = [_known(y.read(m.figures)) for m in marks]
    color = str(marker["color"])
    return kind(
        x=[v.value for v in xs], y=[v.value for v in ys],
        error_x=_bars(xs, color) if bars else None, error_y=_bars(ys, color) if bars else None,
        mode="lines+markers" if line else "markers", name=name, marker=marker,
        line={"color": color, "width": 1.5, "dash": line or "solid"}, uid=name, customdata=[[m.id] for m in marks],
        hovertext=[hover_text(m, x, y) for m in marks], hovertemplate="%{hovertext}<extra></extra>",
        unselected={"marker": {"opacity": 1}} if "opacity" not in marker else None,
    )


def _bars(values: Sequence[Measured], color: str) -> dict[str, object]:
    return {
        "type": "data", "symmetric": False, "array": [v.high - v.value for v in values],
        "arrayminus": [v.value - v.low for v in values], "color": pale(color), "thickness": 1, "width": 3,
    }


def hover_text(mark: Mark, x: Axis, y: Axis) -> str:
    """What is shown over a point: both numbers with intervals and the whole recipe."""
    head = {"baseline": "Uncompressed (fp32)", "current": "Current recipe"}.get(mark.kind, mark.title)
    lines = [f"<b>{escape(head)}</b>", _number(y, mark.figures), _number(x, mark.figures)]
    if mark.kind != "baseline":
        lines += [_wrapped(escape(line)) for line in mark.recipe]
    if not mark.settled:
        lines.append("<i>preliminary: its intervals are being tightened</i>")
    return "<br>".join(lines)


def described(marks: Sequence[Mark], x: Axis, y: Axis, inside: Collection[str] | None = None) -> str:
    """A plot in words, for those who do not see it: what is on it, and the ends of its frontier."""
    shown = drawable(marks, x, y)
    text = f"{y.title} against {x.title}"
    if not shown:
        return f"{text}: no point yet"
    series = dict.fromkeys(m.title for m in shown if m.kind == "sweep")
    by_id = {m.id: m for m in shown}
    front = [by_id[key] for key in frontier_ids(shown, x, y)]
    counted = f"{len(by_id)} points" + (f" ({', '.join(series)})" if series else "")
    ends = [_in_short(mark, x, y) for mark in (front[0], front[-1])]
    text += f": {counted}; {len(front)} on the frontier, from {ends[0]} to {ends[1]}"
    if inside is not None:
        text += f"; {len(inside & by_id.keys())} within the limits"  # type: ignore[operator]
    return text + ". The table below has the numbers."


def _in_short(mark: Mark, x: Axis, y: Axis) -> str:
    numbers = [f"{_known(axis.read(mark.figures)).value:.4g} {axis.unit}".strip() for axis in (y, x)]
    return " at ".join(numbers)


def _number(axis: Axis, figures: Figures) -> str:
    measured = _known(axis.read(figures))
    ends = "" if measured.low == measured.high else f" ({measured.low:.4g} to {measured.high:.4g})"
    return f"{axis.title}: {measured.value:.4g} {axis.unit}{ends}"


def _wrapped(text: str) -> str:
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + len(word) > _WRAP:
            lines.append(line)
            line = "&nbsp;&nbsp;" + word
        else:
            line = f"{line} {word}" if line else word
    return "<br>".join([*lines, line])


def _lay_out(figure: go.Figure, x: Axis, y: Axis, log_x: bool, theme: Theme) -> None:
    figure.update_layout(
        height=410, margin={"l": 8, "r": 8, "t": 8, "b": 8}, hovermode="closest", dragmode="zoom",
        legend={"orientation": "h", "x": 0, "y": -0.22, "yanchor": "top", "uirevision": "kept"},
        hoverlabel={"align": "left"}, uirevision=f"{x.key} {y.key} {log_x}",  # zoom and legend outlive a redraw
    )
    figure.update_xaxes(title=x.label, type="log" if log_x else "linear", automargin=True, zeroline=False)
    figure.update_xaxes({"tickformat": "~g"} if log_x else {"rangemode": "tozero"})
    figure.update_yaxes(title=y.label, automargin=True, zeroline=False)
    if not figure.data:  # numbers on axes without a point would mean nothing
        figure.update_xaxes(showticklabels=False)
        figure.update_yaxes(showticklabels=False)


def _known(measured: Measured | None) -> Measured:
    if measured is None:
        raise ValueError("a mark without this number cannot be drawn")
    return measured
