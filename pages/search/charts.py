"""Plots of a search: its trials with the front and the limits, and the hypervolume. Records in, figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import plotly.graph_objects as go

from compression.analysis.pareto import Measured
from compression.experiments.wording import milliseconds
from compression.search.outcomes import Outcome, Standard
from compression.search.records import SearchRecord, TrialRecord
from compression.service import ExperimentResult, format_accuracy
from pages.shared.axes import percent_axis, percent_top
from pages.shared.figure_style import legible
from pages.shared.formats import recipe_lines
from pages.shared.palette import ORIGIN_SYMBOLS, Theme, faint, ink, origin_color, pale, shade

ORIGIN_TITLES = {"probe": "Probe", "plan": "Plan", "sampler": "Sampler"}
_FADED, _HEIGHT, _MARGIN, _LONGEST = 0.5, 390, 0.08, 300
Cost = Literal["size", "latency"]
COST_LABELS = {"size": "Packed size (kB), lower is better", "latency": "Latency, median (ms), lower is better"}


@dataclass(frozen=True)
class Place:
    """Where an outcome lies on a plot, with its intervals."""

    cost: Measured
    accuracy: Measured


def place_of(own: Outcome, standard: Standard, cost: Cost) -> Place:
    """Size in kB, or latency in ms on the baseline's clock; quality in its unit."""
    ends = (standard.quality.shown(end) for end in (own.accuracy, own.accuracy_low, own.accuracy_high))
    accuracy = Measured(*ends)
    if cost == "size":
        return Place(Measured.exact(own.size_bytes / 1000), accuracy)
    base = standard.baseline.latency_ms
    return Place(Measured(base / own.speedup, base / own.speedup_high, base / own.speedup_low), accuracy)


def cost_limit(record: SearchRecord, cost: Cost) -> float | None:
    """The limit on a cost in the unit of its axis; a speed-up is a latency by the baseline's clock."""
    limits, standard = record.spec.limits, record.standard
    if cost == "size":
        return None if limits.max_size_bytes is None else limits.max_size_bytes / 1000
    found = [] if limits.max_latency_ms is None else [limits.max_latency_ms]
    if limits.min_speedup is not None and standard is not None:
        found.append(standard.baseline.latency_ms / limits.min_speedup)
    return min(found, default=None)


def accuracy_limit(record: SearchRecord) -> float | None:
    """The least accuracy that keeps the limit, in its unit."""
    drop, base, quality = record.spec.limits.max_accuracy_drop, record.baseline, record.spec.quality
    return None if drop is None or base is None else quality.shown(base.accuracy) - quality.lost(drop)


def front_line(places: Sequence[Place]) -> list[Place]:
    """Those that no other beats in these two numbers, by cost: the line along the front."""
    line: list[Place] = []
    for own in sorted(places, key=lambda place: (place.cost.value, -place.accuracy.value)):
        if not line or own.accuracy.value > line[-1].accuracy.value:
            line.append(own)
    return line


def front_figure(
    record: SearchRecord, cost: Cost, *, selected: str | None = None, whole: bool = False, theme: Theme = "light",
    results: Mapping[str, ExperimentResult] | None = None,
) -> go.Figure:
    """Trials by their origin, those that break a limit faded, the front as a line, limits as dotted lines.

    Args:
        record: The search.
        cost: What lies across.
        selected: Key of the trial to ring.
        whole: Show all trials, not only what is near the limits.
        theme: Colours for a light or a dark page.
        results: Of its trials, by key, for their test accuracy.
    """
    figure = go.Figure()
    standard, known = record.standard, results or {}
    if standard is not None:
        done = [trial for trial in record.trials if trial.outcome is not None and trial.standing is not None]
        _add_front(figure, [t for t in done if t.standing == "front"], standard, cost, theme)
        for origin in ORIGIN_TITLES:
            for inside in (False, True):
                own = [t for t in done if t.origin == origin and (t.standing != "infeasible") == inside]
                _add_trials(figure, own, standard, cost, (origin, inside), theme, known)
        _add_mark(figure, standard.baseline, standard, cost, ("Uncompressed (fp32)", "star", 14), theme)
        ringed = next((t.outcome for t in done if t.key == selected and t.outcome is not None), None)
        if ringed is not None:
            _add_mark(figure, ringed, standard, cost, ("Selected", "circle-open", 22), theme)
    quality = record.spec.quality
    _lay_out(figure, cost, record.id)
    figure.update_yaxes(title=f"{quality.label_of(f'Validation {quality.word}')}, higher is better")
    ends = [record.baseline, *(trial.outcome for trial in record.trials)]
    if quality.unit:
        figure.update_yaxes(percent_axis(100 * own.accuracy_low for own in ends if own is not None))
    _draw_limits(figure, record, cost, theme)
    window = None if whole else accuracy_window(record)
    if window is not None:
        figure.update_yaxes(range=list(window))
        figure.update_xaxes(range=[0, _farthest(figure, window[0], cost_limit(record, cost))])
    return legible(figure, theme)


def _farthest(figure: go.Figure, bottom: float, limit: float | None) -> float:
    """Where the axis of costs ends when only what lies above an accuracy is looked at, intervals and limit included."""
    ends = [limit or 0.0]
    for trace in figure.data:
        bars = trace.error_x.array or [0.0] * len(trace.x)
        ends += [x + bar for x, y, bar in zip(trace.x, trace.y, bars, strict=True) if y >= bottom]
    return (1 + _MARGIN) * max(ends)


def accuracy_window(record: SearchRecord) -> tuple[float, float] | None:
    """The range of accuracies that is worth looking at: down to the limit and to what keeps it; None for all."""
    inside = [trial.outcome for trial in record.feasible if trial.outcome is not None]
    if record.baseline is None or not inside:
        return None
    bound, quality = accuracy_limit(record), record.spec.quality
    known = [record.baseline, *inside]
    low = min([*(quality.shown(own.accuracy) for own in known), *([] if bound is None else [bound])])
    high = max(quality.shown(own.accuracy_high) for own in known)
    margin = max(quality.lost(0.3), (high - low) * _MARGIN)
    top = percent_top(low - margin) if quality.unit else high + margin
    return low - margin, min(high + margin, top)


def hidden_below(record: SearchRecord) -> int:
    """Trials that lie below that range."""
    window = accuracy_window(record)
    if window is None:
        return 0
    shown = record.spec.quality.shown
    return sum(t.outcome is not None and shown(t.outcome.accuracy) < window[0] for t in record.trials)


def _add_front(
    figure: go.Figure, front: Sequence[TrialRecord], standard: Standard, cost: Cost, theme: Theme
) -> None:
    places = [place_of(trial.outcome, standard, cost) for trial in front if trial.outcome is not None]
    if not places:
        return
    line = front_line(places)
    figure.add_trace(go.Scatter(
        x=[p.cost.value for p in line], y=[p.accuracy.value for p in line], mode="lines", hoverinfo="skip",
        name="Front", line={"color": faint(theme), "width": 5, "shape": "hv"}, legendgroup="front",
    ))
    figure.add_trace(go.Scatter(
        x=[p.cost.value for p in places], y=[p.accuracy.value for p in places], mode="markers", hoverinfo="skip",
        name="On the front", marker={"color": faint(theme), "size": 19}, legendgroup="front", showlegend=False,
    ))


def _add_trials(
    figure: go.Figure, trials: Sequence[TrialRecord], standard: Standard, cost: Cost, kind: tuple[str, bool],
    theme: Theme, results: Mapping[str, ExperimentResult],
) -> None:
    """Trials of one origin that keep the limits, or that do not."""
    rows = [(trial, place_of(trial.outcome, standard, cost)) for trial in trials if trial.outcome is not None]
    if not rows:
        return
    origin, inside = kind
    color = origin_color(origin, theme)
    figure.add_trace(go.Scatter(
        x=[place.cost.value for _, place in rows], y=[place.accuracy.value for _, place in rows], mode="markers",
        name=ORIGIN_TITLES[origin] + ("" if inside else ", beyond a limit"), customdata=[[t.key] for t, _ in rows],
        marker={"color": color, "symbol": ORIGIN_SYMBOLS[origin], "size": 9, "opacity": 1.0 if inside else _FADED},
        error_x=_bars([place.cost for _, place in rows], color) if inside and cost == "latency" else None,
        error_y=_bars([place.accuracy for _, place in rows], color) if inside else None,
        hovertext=[hover_text(trial, standard, results.get(trial.key)) for trial, _ in rows],
        hovertemplate="%{hovertext}<extra></extra>",
        selected={"marker": {"opacity": 1.0 if inside else _FADED}},
        unselected={"marker": {"opacity": 1.0 if inside else _FADED}},
    ))


def _bars(values: Sequence[Measured], color: str) -> dict[str, object]:
    return {
        "type": "data", "symmetric": False, "array": [v.high - v.value for v in values],
        "arrayminus": [v.value - v.low for v in values], "color": pale(color, 0.4), "thickness": 1, "width": 2,
    }


def _add_mark(
    figure: go.Figure, own: Outcome, standard: Standard, cost: Cost, look: tuple[str, str, int], theme: Theme
) -> None:
    place, (name, symbol, size) = place_of(own, standard, cost), look
    figure.add_trace(go.Scatter(
        x=[place.cost.value], y=[place.accuracy.value], mode="markers", name=name, hoverinfo="name",
        marker={"color": ink(theme), "symbol": symbol, "size": size, "line": {"width": 2}},
    ))


def hover_text(trial: TrialRecord, standard: Standard, result: ExperimentResult | None = None) -> str:
    """What is shown over a trial: its figures with intervals, how it stands, and its recipe."""
    own = trial.outcome
    assert own is not None
    standing = {
        "front": "on the front", "dominated": "keeps the limits, another beats it", "infeasible": "beyond a limit"
    }[trial.standing or "infeasible"]
    quality = standard.quality
    value, ends = quality.text(own.accuracy, quality.digits + 1), quality.ends(own.accuracy_low, own.accuracy_high)
    place = place_of(own, standard, "latency").cost
    lines = [
        f"<b>Trial {trial.number}, {ORIGIN_TITLES[trial.origin].lower()}: {standing}</b>",
        f"Validation {quality.word}: {value} ({ends}, n = {own.n_samples:,})",
        f"{quality.lost_heading.capitalize()} there: {quality.lost(standard.drop(own)):.{quality.digits + 1}f}",
        *([] if result is None else [f"Test {quality.word}: {format_accuracy(result.figures)}"]),
        f"Packed size: {own.size_bytes / 1000:.1f} kB",
        f"Latency: {milliseconds(place.value)} ({place.low:#.3g} to {place.high:#.3g}), {own.speedup:.2f}x as fast",
    ]
    for line in recipe_lines(trial.recipe):
        lines += _wrapped(line[:_LONGEST] + (" ..." if len(line) > _LONGEST else ""))
    return "<br>".join(lines)


def _wrapped(text: str, width: int = 60) -> list[str]:
    lines = [""]
    for word in escape(text).split(" "):
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("&nbsp;&nbsp;")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines


def _draw_limits(figure: go.Figure, record: SearchRecord, cost: Cost, theme: Theme) -> None:
    """Dotted lines at the limits, shaded beyond."""
    dotted = {"color": ink(theme), "width": 1.5, "dash": "dot"}
    across, up = cost_limit(record, cost), accuracy_limit(record)
    if across is not None:
        xs = [p for trace in figure.data for p in trace.x or ()]
        figure.add_vline(x=across, line=dotted, layer="below")
        figure.add_vrect(
            x0=across, x1=max([across * 1.1, *(x * 1.1 for x in xs)]), fillcolor=shade(theme), line_width=0,
            layer="below",
        )
    if up is not None:
        ys, below = [p for trace in figure.data for p in trace.y or ()], record.spec.quality.lost(5)
        figure.add_hline(y=up, line=dotted, layer="below")
        figure.add_hrect(
            y0=min([up - below, *(y - below for y in ys)]), y1=up, fillcolor=shade(theme), line_width=0, layer="below"
        )


def _lay_out(figure: go.Figure, cost: Cost, revision: str) -> None:
    """The revision keeps a zoom while trials come in."""
    figure.update_layout(
        height=_HEIGHT, margin={"l": 8, "r": 8, "t": 8, "b": 8}, hovermode="closest", dragmode="zoom",
        legend={"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}, hoverlabel={"align": "left"},
        uirevision=revision,
    )
    figure.update_xaxes(title=COST_LABELS[cost], automargin=True, zeroline=False, rangemode="tozero")
    figure.update_yaxes(automargin=True, zeroline=False)
    if not figure.data:  # numbers on axes without a point would mean nothing
        figure.update_xaxes(showticklabels=False)
        figure.update_yaxes(showticklabels=False)


def volume_figure(record: SearchRecord, theme: Theme = "light") -> go.Figure:
    """Hypervolume after each trial."""
    count = len(record.volumes)
    figure = go.Figure(go.Scatter(
        x=list(range(1, count + 1)), y=list(record.volumes), mode="lines+markers" if count < 60 else "lines",
        line={"color": ink(theme), "width": 2, "shape": "hv"}, marker={"size": 4}, name="Hypervolume",
        hovertemplate="after %{x} trials: %{y:.3f}<extra></extra>",
    ))
    figure.update_layout(
        height=230, margin={"l": 8, "r": 8, "t": 8, "b": 8}, showlegend=False, uirevision=record.id,
    )
    figure.update_xaxes(title="Trials measured", automargin=True, range=[0, 1.02 * max(count, record.spec.trials or 1)])
    figure.update_yaxes(title="Hypervolume", automargin=True, rangemode="tozero", zeroline=False)
    return legible(figure, theme)
