"""A result as one HTML page that opens without a network: no script, plots as SVG, everything escaped."""

from collections.abc import Sequence
from html import escape

from compression.analysis.pareto import Measured
from compression.analysis.runtime_records import RUNTIMES
from compression.experiments.pairing import Scores
from compression.experiments.results import ExperimentResult, Figures, LayerRecord
from compression.experiments.wording import milliseconds, percent, recipe_label
from compression.recipe import recipe_from_dict, recipe_to_yaml
from compression.reports.card import limitations
from compression.reports.snippets import command_lines, python_snippet
from compression.reports.subject import Subject
from compression.reports.svg import Point, scatter_svg
from compression.reports.tables import measured_how, runtime_rows
from compression.reports.text import figure_rows, format_bytes

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5a6470;--paper:#fff;--line:#d5dae1;--own:#d55e00;--other:#7d8894}
@media (prefers-color-scheme:dark){:root{--ink:#e9ecf1;--soft:#a7b0bc;--paper:#12161c;--line:#343d4a;--own:#f0762b}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:70rem;margin:2rem auto;
padding:0 1rem}
h1{margin-bottom:0}.soft{color:var(--soft)}
pre{overflow:auto;border:1px solid var(--line);padding:.8rem;border-radius:4px}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(19rem,1fr));gap:1.5rem}
svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--line)}.axis{stroke:var(--soft);fill:none}.frontier{stroke:var(--line);stroke-width:6;fill:none}
.mark.other{fill:var(--other)}.mark.baseline{fill:var(--ink)}.mark.own{fill:var(--own)}
.bars{stroke:var(--other);stroke-opacity:.6}.bars.own{stroke:var(--own)}.bars.baseline{stroke:var(--ink)}
"""
_LAYER_HEADER = ("layer", "kind", "shape", "kernel", "encoding", "bytes", "zeros", "MACs", "reason")


def report_html(subject: Subject) -> str:
    """The report of a result: figures, plots among its model's runs, runtimes, recipe, layers, remarks, environment."""
    result = subject.result
    title = f"{subject.model.title}: {recipe_label(result.recipe)}"
    state = "final" if result.stage == "full" else "first figures, their intervals are still wide"
    measured = result.created[:16].replace("T", " ")
    parts = [
        f"<h1>{escape(subject.model.title)}</h1><p>{escape(recipe_label(result.recipe))}</p>"
        f'<p class="soft">measured {escape(measured)} UTC, {state}; result {escape(result.key)}</p>',
        _table(("figure", "this artifact", "uncompressed", "badge"), figure_rows(result)),
        _list("Promise", subject.promise_lines),
        f"<h2>Among the runs of this model</h2>{_plots(subject)}",
        *_runtimes(subject),
        _list("Why isn't it smaller or faster?", result.explanation),
        _list("Notes from each step", result.notes),
        f"<h2>Recipe</h2><pre>{escape(recipe_to_yaml(recipe_from_dict(result.recipe)))}</pre>",
        f"<h2>Layers</h2>{_table(_LAYER_HEADER, [_layer(layer) for layer in result.layers])}",
        f"<h2>Runs in the plots</h2>{_runs(subject)}",
        _list("How it was measured", measured_how(result)),
        _list("Limitations", limitations(result)),
        f"<h2>Environment</h2>{_table(('what', 'here'), [(k, str(v)) for k, v in result.environment.items()])}",
        f"<h2>Weights and data</h2>{_table(('what', 'whose', 'licence'), _origins(subject))}",
        f"<h2>Reproduce</h2><pre>{escape(chr(10).join(command_lines(result)))}</pre>"
        f"<pre>{escape(python_snippet(result))}</pre>",
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _list(title: str, lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>" if items else ""


def _plots(subject: Subject) -> str:
    label = subject.result.figures.kind.label
    plots = [
        scatter_svg(points_of(subject, "size"), "Packed size (kB)", label),
        scatter_svg(points_of(subject, "latency"), "Latency, median (ms)", label),
    ]
    legend = (
        '<p class="soft">&#9670; this artifact, &#9733; uncompressed, &#9679; other runs of this model on the same '
        "data; the broad line joins those that none beats. Latencies are on the uncompressed model's clock: its "
        "median, pooled from all its timings, divided by the measured speed-up.</p>"
    )
    return f'<div class="plots">{"".join(f"<div>{plot}</div>" for plot in plots)}</div>{legend}'


def points_of(subject: Subject, cost: str) -> list[Point]:
    """All runs of a report's plot as points; those without that cost are left out.

    Args:
        subject: What is reported on.
        cost: "size" (kB) or "latency" (ms).
    """
    result = subject.result
    rows = [(other, "other" if other.recipe["steps"] else "baseline") for other in subject.others]
    rows.append((result, "own"))
    points = [
        _point(own.figures, kind, recipe_label(own.recipe), cost, subject.scores.get(own.key)) for own, kind in rows
    ]
    if result.recipe["steps"] and all(kind != "baseline" for _, kind in rows):
        points.append(_point(result.baseline, "baseline", "uncompressed", cost))
    return [point for point in points if point is not None]


def _point(figures: Figures, kind: str, label: str, cost: str, scores: Scores | None = None) -> Point | None:
    ends = (figures.accuracy, figures.accuracy_low, figures.accuracy_high)
    quality = Measured(*(figures.kind.shown(value) for value in ends))
    if cost == "size":
        x, shown = Measured.exact(figures.size_bytes / 1000), format_bytes(figures.size_bytes)
    elif figures.latency_ms_p50 is None:
        return None
    else:
        middle = figures.latency_ms_p50
        x, shown = Measured(middle, figures.latency_low or middle, figures.latency_high or middle), milliseconds(middle)
    return Point(x, quality, kind, f"{label}: {_quality(figures)}, {shown}", scores)


def _quality(figures: Figures) -> str:
    return figures.kind.text(figures.accuracy, figures.kind.digits + 1)


def _runs(subject: Subject) -> str:
    ordered = sorted((subject.result, *subject.others), key=lambda r: r.figures.size_bytes)
    rows = [_run(own, here=own.key == subject.result.key) for own in ordered]
    return _table(("recipe", subject.result.figures.kind.word, "packed", "ONNX", "latency", "speed-up"), rows)


def _run(own: ExperimentResult, *, here: bool) -> tuple[str, ...]:
    figures = own.figures
    latency = "not timed" if figures.latency_ms_p50 is None else milliseconds(figures.latency_ms_p50)
    return (
        recipe_label(own.recipe) + (" (this artifact)" if here else ""),
        _quality(figures), format_bytes(figures.size_bytes), format_bytes(figures.runtime_size_bytes),
        latency, "-" if figures.speedup is None else f"{figures.speedup:.2f}x",
    )


def _runtimes(subject: Subject) -> list[str]:
    if not subject.records:
        return []
    header, rows = runtime_rows(subject)
    infos = [RUNTIMES[record.runtime] for record in subject.records]
    told = "".join(f"<li>{escape(f'{info.title}: {info.says}')}</li>" for info in infos)
    return [f"<h2>Runtimes</h2>{_table(header, rows)}<ul>{told}</ul>"]


def _layer(layer: LayerRecord) -> tuple[str, ...]:
    return (
        layer.fqn, layer.kind, "x".join(map(str, layer.shape)), layer.kernel, layer.encoding,
        f"{layer.packed_bytes:,}", percent(layer.sparsity), f"{layer.macs:,}", layer.note,
    )


def _origins(subject: Subject) -> list[tuple[str, str, str]]:
    info, data = subject.model, subject.dataset
    hashed = f" (SHA-256 {subject.weights_hash})" if subject.weights_hash else ""
    return [(f"weights of {info.name}", info.source + hashed, info.license), (data.title, data.source, data.license)]
