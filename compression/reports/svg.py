"""A scatter plot as SVG text that needs no script and no network: points in, text out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from compression.analysis.pareto import Measured, frontier
from compression.experiments.pairing import Scores, accuracy_differences

WIDTH, HEIGHT = 520, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 48
_TICKS = 5
_MARGIN = 0.06


@dataclass(frozen=True)
class Point:
    """One measured artifact.

    Attributes:
        x: The cost; lower is better.
        y: The quality; higher is better.
        kind: "own", "baseline" or "other".
        label: What it is, shown over it.
        scores: Which predictions were right, where that is known.
    """

    x: Measured
    y: Measured
    kind: str
    label: str
    scores: Scores | None = None


@dataclass(frozen=True)
class _Scale:
    """From numbers to places along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def scatter_svg(points: Sequence[Point], x_label: str, y_label: str) -> str:
    """Points with their intervals, the frontier among them, and axes.

    Colours come from the classes own, baseline, other, frontier, axis and grid of the page that it stands in.
    """
    if not points:
        return "<p>Nothing to draw.</p>"
    x = _scale([m.high for m in (p.x for p in points)], [0.0], _LEFT, WIDTH - _RIGHT)
    y = _scale([p.y.high for p in points], [p.y.low for p in points], HEIGHT - _BOTTOM, _TOP)
    order = {"other": 0, "baseline": 1, "own": 2}
    body = [*_axes(x, y, x_label, y_label), _frontier(points, x, y)]
    for point in sorted(points, key=lambda p: order[p.kind]):
        body.append(_bars(point, x, y) + _mark(point, x, y))
    told = f"{y_label} against {x_label}, {len(points)} points; the tables hold the numbers"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(body)}</svg>'
    )


def _scale(highs: list[float], lows: list[float], start: float, end: float) -> _Scale:
    low, high = min(lows), max(highs)
    room = (high - low or abs(high) or 1.0) * _MARGIN
    return _Scale(low - (room if low else 0.0), high + room, start, end)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers within an interval, about five."""
    raw = (high - low) / _TICKS
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * n for n in (1, 2, 2.5, 5, 10) if power * n >= raw)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _axes(x: _Scale, y: _Scale, x_label: str, y_label: str) -> list[str]:
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM
    parts = []
    for value in ticks(x.low, x.high):
        place = x(value)
        parts.append(f'<line class="grid" x1="{place:.1f}" y1="{top}" x2="{place:.1f}" y2="{bottom}"/>')
        parts.append(_text(place, bottom + 16, f"{value:.6g}", "middle"))
    for value in ticks(y.low, y.high):
        place = y(value)
        parts.append(f'<line class="grid" x1="{left}" y1="{place:.1f}" x2="{right}" y2="{place:.1f}"/>')
        parts.append(_text(left - 6, place + 4, f"{value:.6g}", "end"))
    parts.append(f'<path class="axis" d="M{left} {top}V{bottom}H{right}"/>')
    parts.append(_text((left + right) / 2, HEIGHT - 10, x_label, "middle"))
    middle = (top + bottom) / 2
    parts.append(
        f'<text x="14" y="{middle}" text-anchor="middle" transform="rotate(-90 14 {middle})">{escape(y_label)}</text>'
    )
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _frontier(points: Sequence[Point], x: _Scale, y: _Scale) -> str:
    paired = {1: accuracy_differences(tuple(p.scores for p in points)).negated()}
    front = [points[i] for i in frontier([[p.x, p.y.negated()] for p in points], paired)]
    places = " ".join(f"{x(p.x.value):.1f},{y(p.y.value):.1f}" for p in front)
    return f'<polyline class="frontier" points="{places}"/>'


def _bars(point: Point, x: _Scale, y: _Scale) -> str:
    """Intervals as lines; an exact number has none."""
    across, up = x(point.x.value), y(point.y.value)
    bars = ""
    if point.y.low < point.y.high:
        bars += f"M{across:.1f} {y(point.y.low):.1f}V{y(point.y.high):.1f}"
    if point.x.low < point.x.high:
        bars += f"M{x(point.x.low):.1f} {up:.1f}H{x(point.x.high):.1f}"
    return f'<path class="bars {point.kind}" d="{bars}"/>' if bars else ""


def _mark(point: Point, x: _Scale, y: _Scale) -> str:
    across, up = x(point.x.value), y(point.y.value)
    title = f"<title>{escape(point.label)}</title>"
    if point.kind == "baseline":
        return f'<path class="mark baseline" d="{_star(across, up)}">{title}</path>'
    if point.kind == "own":
        shape = f"M{across:.1f} {up - 8:.1f}l8 8l-8 8l-8 -8z"
        return f'<path class="mark own" d="{shape}">{title}</path>'
    return f'<circle class="mark other" cx="{across:.1f}" cy="{up:.1f}" r="4">{title}</circle>'


def _star(x: float, y: float) -> str:
    corners = []
    for i in range(10):
        radius, angle = (9.0 if i % 2 == 0 else 3.8), math.pi * (i / 5 - 0.5)
        corners.append(f"{x + radius * math.cos(angle):.1f} {y + radius * math.sin(angle):.1f}")
    return "M" + "L".join(corners) + "z"
