"""Which runs are listed, in which order, and where they lie. Results in, lists and figures out; no Streamlit here."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from compression.service import ExperimentResult, Figures
from pages.shared.axes import ACCURACY, Axis, percent_axis, quality_axis
from pages.shared.comparison import dataset_name, techniques_of
from pages.shared.figure_style import legible, space_log_numbers
from pages.shared.formats import recipe_label
from pages.shared.palette import VARIANTS, Theme, ink, technique_color, technique_symbol

_LETTER_PLACES = ("bottom center", "middle right", "middle left", "bottom right")  # close pins stay legible; none above
MOST_FACETS = 6


@dataclass(frozen=True)
class Range:
    """A figure that runs are filtered by."""

    key: str
    label: str
    read: Callable[[Figures], float | None]


RANGES = (
    Range("accuracy", "accuracy, % (R2: times 100)", lambda figures: 100 * figures.accuracy),
    Range("size", "packed size, kB", lambda figures: figures.size_bytes / 1000),
    Range("latency", "latency, ms", lambda figures: figures.latency_ms_p50),
)


@dataclass(frozen=True)
class RunFilter:
    """What a run has to be; what is empty sets no condition.

    Attributes:
        models: Models of which it is one.
        techniques: Techniques of which it has one.
        text: Words that its model, dataset and recipe hold, in any order and case.
        least: Least value per range.
        most: Most per range.
        datasets: Datasets of which it was scored on one.
    """

    models: Collection[str] = ()
    techniques: Collection[str] = ()
    text: str = ""
    least: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    datasets: Collection[str] = ()

    def fits(self, result: ExperimentResult) -> bool:
        """Whether a run is listed."""
        if self.models and result.model_name not in self.models:
            return False
        if self.datasets and dataset_name(result) not in self.datasets:
            return False
        if self.techniques and not techniques_of(result) & set(self.techniques):
            return False
        return self._in_range(result.figures) and self._says(result)

    def _in_range(self, figures: Figures) -> bool:
        for own in RANGES:
            if own.key not in self.least and own.key not in self.most:
                continue
            value = own.read(figures)
            if value is None or not self.least.get(own.key, value) <= value <= self.most.get(own.key, value):
                return False
        return True

    def _says(self, result: ExperimentResult) -> bool:
        words = self.text.lower().split()
        if not words:
            return True
        said = f"{result.recipe['model']} {dataset_name(result)} {recipe_label(result.recipe)}".lower()
        return all(word in said for word in words)


ORDERS: Mapping[str, Callable[[ExperimentResult], tuple[float | str, ...]]] = {
    "newest first": lambda result: (),
    "accuracy, highest first": lambda result: (-result.figures.accuracy,),
    "packed size, smallest first": lambda result: (result.figures.size_bytes,),
    "latency, least first": lambda result: (result.figures.latency_ms_p50 or float("inf"),),
    "speed-up, highest first": lambda result: (-(result.figures.speedup or 0.0),),
    "model and recipe": lambda result: (result.model_name, recipe_label(result.recipe)),
}


def listed(results: Sequence[ExperimentResult], condition: RunFilter, order: str) -> list[ExperimentResult]:
    """The runs that fit, in an order of `ORDERS`; equal ones the newest first."""
    newest = sorted((r for r in results if condition.fits(r)), key=lambda r: r.created, reverse=True)
    return sorted(newest, key=ORDERS[order])


def facets_of(results: Sequence[ExperimentResult]) -> list[tuple[str, str]]:
    """Models with their datasets among runs, those with most runs first: their accuracies share no axis."""
    return [facet for facet, _ in Counter((r.model_name, dataset_name(r)) for r in results).most_common()]


def runs_figure(
    results: Sequence[ExperimentResult], pinned: Mapping[str, str], cost: Axis, theme: Theme = "light"
) -> go.Figure:
    """Accuracy against a cost, a point per run coloured by its first technique; pinned ones have their letters.

    Runs of each model on each dataset have a plot for themselves, the six with most runs: see `facets_of`.

    Args:
        results: The runs.
        pinned: Letter per key.
        cost: What goes across.
        theme: Light or dark.
    """
    facets = facets_of(results)[:MOST_FACETS]
    columns = min(2, max(1, len(facets)))
    rows = max(1, -(-len(facets) // columns))
    titles = [f"{model} on {dataset}" for model, dataset in facets] if len(facets) > 1 else None
    figure = make_subplots(rows, columns, subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=0.34 / rows)
    for number, facet in enumerate(facets):
        place = {"row": number // columns + 1, "col": number % columns + 1}
        own = [r for r in results if (r.model_name, dataset_name(r)) == facet]
        drawn = [*_groups(own, cost, theme), *_rings(own, pinned, cost, theme)]
        for trace in drawn:
            figure.add_trace(trace, **place)
        title = cost.label if number + columns >= len(facets) else ""
        figure.update_xaxes(title=title, zeroline=False, type="log", tickformat="~g", **place)
        quality = quality_axis(own[0].figures)  # runs of one model on one dataset
        figure.update_yaxes(title=quality.label if number % columns == 0 else "", zeroline=False, **place)
        if quality is ACCURACY:
            figure.update_yaxes(percent_axis(100 * result.figures.accuracy for result in own), **place)
    space_log_numbers(figure, [x for trace in figure.data for x in trace.x])
    figure.update_layout(
        height=340 if rows == 1 else 270 * rows, margin={"l": 8, "r": 8, "t": 28 if titles else 8, "b": 8},
        showlegend=False, plot_bgcolor="rgba(0,0,0,0)", hovermode="closest", clickmode="event+select", dragmode=False,
    )
    return legible(figure, theme)


def _groups(results: Sequence[ExperimentResult], cost: Axis, theme: Theme) -> list[go.Scatter]:
    """A trace per first technique."""
    groups: dict[str, list[ExperimentResult]] = {}
    for result in results:
        steps = result.recipe["steps"]
        groups.setdefault(str(steps[0]["technique"]) if steps else "", []).append(result)
    return [
        _points(own, cost, {
            "color": technique_color(technique, theme) if technique else ink(theme),
            "symbol": technique_symbol(technique) if technique else "star", "size": 8, "opacity": 0.75,
        }, technique)
        for technique, own in groups.items()
    ]


def _rings(
    results: Sequence[ExperimentResult], pinned: Mapping[str, str], cost: Axis, theme: Theme
) -> list[go.Scatter]:
    """A trace per pinned run: a ring and its letter."""
    traces = []
    for number, (key, letter) in enumerate(pinned.items()):
        own = [result for result in results if result.key == key]
        ring = {"color": VARIANTS[number % len(VARIANTS)], "symbol": "circle-open", "size": 18, "line": {"width": 2.5}}
        points = _points(own, cost, ring, letter)
        points.update(
            mode="markers+text", text=[f"<b>{letter}</b>"] * len(points.x),
            textposition=_LETTER_PLACES[number % len(_LETTER_PLACES)],
            textfont={"color": ink(theme)}, cliponaxis=False,  # a letter at the edge is written whole
        )
        if own:
            traces.append(points)
    return traces


def _points(results: Sequence[ExperimentResult], cost: Axis, marker: Mapping[str, object], name: str) -> go.Scatter:
    found = [(r, cost.read(r.figures)) for r in results]
    drawn = [(r, x.value) for r, x in found if x is not None]
    return go.Scatter(
        x=[x for _, x in drawn], y=[r.figures.kind.shown(r.figures.accuracy) for r, _ in drawn], mode="markers",
        marker=dict(marker),
        customdata=[r.key for r, _ in drawn], name=name or "uncompressed",
        hovertext=[
            f"{escape(str(r.recipe['model']))} on {escape(dataset_name(r))}<br>{escape(recipe_label(r.recipe))}"
            f"<br>{r.figures.kind.title} {r.figures.kind.text(r.figures.accuracy, r.figures.kind.digits + 1)}"
            for r, _ in drawn
        ],
        hovertemplate="%{hovertext}, %{x:.4~g} " + cost.unit + "<extra></extra>",
    )
