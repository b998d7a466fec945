"""What two results do differently, as figures and pictures: confusions and flipped samples. No Streamlit here."""

from collections.abc import Sequence
from html import escape

import pandas as pd
import plotly.graph_objects as go

from compression.analysis.behaviour import Flips
from compression.analysis.differences import Difference, Example
from pages.shared.figure_style import legible
from pages.shared.formats import accuracy_change
from pages.shared.palette import DIVERGING, Theme, faint

PER_PAGE = 24
_CELL = 26
_UPRIGHT = 2  # letters of a class name that find room beside each other
_KINDS = {
    "lost": "Lost: right before, wrong now",
    "won": "Won: wrong before, right now",
    "other": "Wrong both times, in another way",
}
GALLERY_STYLE = """<style>
ul.flips {display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; margin: 0; list-style: none; font-size: .8rem}
ul.flips.pictures {display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr))}
.flips.texts li {flex: 1 1 20rem; max-width: 40rem}
.flips li {border: 1px solid rgba(128,128,128,.35); border-radius: .4rem; padding: .5rem; margin: 0}
.flips img {width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated}
.flips code {white-space: pre-wrap; overflow-wrap: anywhere; font-size: .75rem}
.flips mark {background: rgba(230,159,0,.45); color: inherit; padding: 0 .1rem}
.flips small {opacity: .75}
</style>"""


def kinds_of(difference: Difference) -> dict[str, str]:
    """The kinds of flips that occur, with their titles and numbers."""
    return {
        kind: f"{title} ({getattr(difference.flips, kind):,})" for kind, title in _KINDS.items()
        if getattr(difference.flips, kind)
    }


def change_line(flips: Flips, second: str, first: str) -> str:
    """Flips and the change of accuracy that they make, with its interval; says so where it is a tie."""
    return (
        f"**{second}** against **{first}**: {accuracy_change(flips.change(), digits=2)}. "
        f"Of {flips.total:,} predictions {flips.lost:,} were lost, {flips.won:,} won, and {flips.other:,} are wrong in "
        "another way."
    )


def confusion_figure(difference: Difference, theme: Theme = "light") -> go.Figure:
    """How many more samples of a class (row) are taken for a class (column); blue is for the better, red for worse."""
    names, rows = list(difference.confused), difference.confusion
    judged = [
        [None if not v else (v if i == j else -v) for j, v in enumerate(row)] for i, row in enumerate(rows)
    ]
    reach = max((abs(v) for row in rows for v in row), default=0) or 1
    figure = go.Figure(
        go.Heatmap(
            z=judged, x=names, y=names, customdata=rows, text=[[f"{v:+d}" if v else "" for v in row] for row in rows],
            texttemplate="%{text}", colorscale=DIVERGING, zmin=-reach, zmax=reach, showscale=False, hoverongaps=False,
            xgap=1, ygap=1, hovertemplate="%{y} taken for %{x}: %{customdata:+d}<extra></extra>",
        )
    )
    figure.update_layout(
        height=110 + _CELL * max(4, len(names)), margin={"l": 8, "r": 8, "t": 8, "b": 8}, plot_bgcolor="rgba(0,0,0,0)",
        shapes=[_frame(place, theme) for place in range(len(names))],
    )
    slanted = any(len(name) > _UPRIGHT for name in names)
    figure.update_xaxes(title="predicted", type="category", showgrid=False, tickangle=-45 if slanted else 0)
    figure.update_yaxes(title="true class", type="category", autorange="reversed", showgrid=False)
    return legible(figure, theme)


def _frame(place: int, theme: Theme) -> dict[str, object]:
    """A frame around a cell of the diagonal, where predictions are right."""
    ends = {"x0": place - 0.5, "x1": place + 0.5, "y0": place - 0.5, "y1": place + 0.5}
    return {"type": "rect", "line": {"color": faint(theme), "width": 1}, **ends}


def class_change_table(differences: Sequence[tuple[str, Difference]], first: str) -> pd.DataFrame:
    """Accuracy per class in percent: the first's, and of each other one with its change; the most changed first."""
    columns: dict[str, dict[str, float]] = {"samples": {}, f"{first} %": {}}
    for letter, difference in differences:
        for own in difference.classes:
            columns["samples"][own.name] = own.samples
            columns[f"{first} %"][own.name] = 100 * own.before
            columns.setdefault(f"{letter} %", {})[own.name] = 100 * own.after
            columns.setdefault(f"{letter} change", {})[own.name] = 100 * (own.after - own.before)
    table = pd.DataFrame(columns)
    moved = table[[name for name in table if name.endswith("change")]].abs().max(axis=1)
    return table.loc[moved.sort_values(ascending=False, kind="stable").index]


def gallery(examples: Sequence[Example]) -> str:
    """Flipped samples as HTML: what each is, its class, and both predictions with their probabilities."""
    pictures = bool(examples) and bool(examples[0].sample.image)
    items = "".join(f"<li>{_shown(own)}{_caption(own)}</li>" for own in examples)
    return f'{GALLERY_STYLE}<ul class="flips {"pictures" if pictures else "texts"}">{items}</ul>'


def _shown(example: Example) -> str:
    sample = example.sample
    if sample.image:
        return f'<img src="{escape(sample.image)}" alt="{escape(example.truth)}">'
    at = escape(sample.at.replace("\n", "\u23ce"))
    mark = f"<mark>{at}</mark>" if at else ""
    return f"<code>{escape(sample.before)}{mark}{escape(sample.after)}</code>"


def _caption(example: Example) -> str:
    old, new = _said(example.before, example.sure_before), _said(example.after, example.sure_after)
    lost = example.lost
    said = "" if lost is None else f"<br><small>{100 * abs(lost):.0f} points {'lost' if lost >= 0 else 'won'}</small>"
    return f"<div><b>{escape(example.truth)}</b><br>{old} \u2192 {new}{said}</div>"


def _said(name: str, sure: float | None) -> str:
    return escape(name) if sure is None else f"{escape(name)}: {100 * sure:.0f} %"
