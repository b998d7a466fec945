"""How variants were derived: recipes as paths from the uncompressed model. No Streamlit here."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import plotly.graph_objects as go

from compression.service import ExperimentResult, format_bytes
from pages.shared.formats import quality_text, step_label
from pages.shared.palette import Theme, faint, ink, technique_color, technique_symbol

MOST_NODES = 60
_ROW, _FRAME = 30, 24
_INDENTED = 44


@dataclass(frozen=True)
class Node:
    """One step of a derivation.

    Attributes:
        id: The recipe up to here, as text.
        parent: That of the step before; empty for an uncompressed model.
        depth: Number of steps.
        label: The last step in short, or the model's name.
        technique: Its technique; empty for an uncompressed model.
        result: What was measured of it, or None.
        letter: Its letter where it is pinned.
    """

    id: str
    parent: str
    depth: int
    label: str
    technique: str
    result: ExperimentResult | None = None
    letter: str = ""

    @property
    def figures(self) -> str:
        """What was measured in short, or that nothing was."""
        if self.result is None:
            return "not measured"
        own = self.result.figures
        return f"{quality_text(own)}, {format_bytes(own.size_bytes)}"


def provenance(
    pinned: Sequence[ExperimentResult], others: Iterable[ExperimentResult] = (), most: int = MOST_NODES
) -> list[Node]:
    """Derivations of results as a tree, each node before its children.

    Args:
        pinned: Results that are in it in any case, in the order of their letters.
        others: Further results; those of the same models and settings are added while there is room.
        most: Nodes in all, unless the pinned ones need more.
    """
    nodes: dict[str, Node] = {}
    for number, result in enumerate(pinned):
        _add(nodes, result, chr(65 + number))
    roots = {node.id for node in nodes.values() if not node.parent}
    for result in others:
        own = _path(result.recipe)
        fresh = sum(node.id not in nodes for node in own)
        if own[0].id in roots and (not fresh or len(nodes) + fresh <= most):
            _add(nodes, result, "")
    return _in_order(nodes)


def _path(recipe: Mapping[str, Any]) -> list[Node]:
    """The uncompressed model and each step of a recipe."""
    steps, path = recipe["steps"], []
    for depth in range(len(steps) + 1):
        name = json.dumps({**recipe, "steps": steps[:depth]}, sort_keys=True)
        label = step_label(steps[depth - 1]) if depth else f"{recipe['model']}, uncompressed"
        technique = str(steps[depth - 1]["technique"]) if depth else ""
        path.append(Node(name, path[-1].id if path else "", depth, label, technique))
    return path


def _add(nodes: dict[str, Node], result: ExperimentResult, letter: str) -> None:
    *before, last = _path(result.recipe)
    for node in before:
        nodes.setdefault(node.id, node)
    known = nodes.get(last.id, last)
    if known.result is None or letter:
        nodes[last.id] = replace(known, result=result, letter=letter or known.letter)


def _in_order(nodes: Mapping[str, Node]) -> list[Node]:
    children: dict[str, list[Node]] = {}
    for node in nodes.values():
        children.setdefault(node.parent, []).append(node)
    ordered, waiting = [], list(reversed(children.get("", [])))
    while waiting:
        node = waiting.pop()
        ordered.append(node)
        waiting += sorted(children.get(node.id, []), key=lambda own: own.label, reverse=True)
    return ordered


def tree_figure(nodes: Sequence[Node], theme: Theme = "light") -> go.Figure:
    """The tree, one row per node, each indented below the one it was derived from.

    Nodes that were not measured are hollow and faint. ``customdata`` holds the keys of the measured ones.
    """
    place = {node.id: row for row, node in enumerate(nodes)}
    xs, ys = [], []
    for row, node in enumerate(nodes):
        if node.parent:
            above = place[node.parent]
            xs += [node.depth - 1, node.depth - 1, node.depth, None]
            ys += [above, row, row, None]
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(x=xs, y=ys, mode="lines", line={"color": faint(theme), "width": 1.5}, hoverinfo="skip", name="steps")
    )
    for measured in (True, False):
        own = [node for node in nodes if (node.result is not None) == measured]
        figure.add_trace(_nodes(own, place, theme, measured))
    deepest = max((node.depth for node in nodes), default=0)
    figure.update_layout(
        height=_FRAME + _ROW * len(nodes), margin={"l": 4, "r": 4, "t": 4, "b": 4}, showlegend=False,
        plot_bgcolor="rgba(0,0,0,0)", hoverlabel={"align": "left"}, dragmode=False,
    )
    figure.update_xaxes(visible=False, range=[-0.3, max(5.0, deepest + 4.0)], fixedrange=True)
    figure.update_yaxes(visible=False, range=[len(nodes) - 0.4, -0.6], fixedrange=True)
    return figure


def _nodes(nodes: Sequence[Node], place: Mapping[str, int], theme: Theme, measured: bool) -> go.Scatter:
    colors = [technique_color(node.technique, theme) if node.technique else ink(theme) for node in nodes]
    symbols = [technique_symbol(node.technique) if node.technique else "star" for node in nodes]
    return go.Scatter(
        x=[node.depth for node in nodes], y=[place[node.id] for node in nodes], mode="markers+text",
        marker={
            "color": colors, "opacity": 1.0 if measured else 0.45,
            "size": [15 if node.letter else 11 for node in nodes],
            "symbol": [symbol if measured else f"{symbol}-open" for symbol in symbols],
            "line": {"color": ink(theme), "width": [2 if node.letter else 0 if measured else 1.5 for node in nodes]},
        },
        text=[_written(node) for node in nodes], textposition="middle right", cliponaxis=False,
        textfont={"color": ink(theme) if measured else faint(theme)},
        customdata=[node.result.key for node in nodes if node.result is not None],
        hovertext=[f"{escape(node.label)}<br>{node.figures}" for node in nodes], hoverinfo="text",
        name="measured" if measured else "not measured",
    )


def _written(node: Node) -> str:
    label = node.label if len(node.label) <= _INDENTED else node.label[: _INDENTED - 1] + "\u2026"
    letter = f"<b>{node.letter}</b> " if node.letter else ""
    return f" {letter}{escape(label)} <b>{node.figures}</b>" if node.result is not None else f" {letter}{escape(label)}"


def tree_lines(nodes: Sequence[Node]) -> list[str]:
    """The tree as a nested list in Markdown."""
    lines = []
    for node in nodes:
        letter = f"**{node.letter}** " if node.letter else ""
        lines.append(f"{'  ' * node.depth}- {letter}{node.label}: {node.figures}")
    return lines
