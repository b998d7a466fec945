"""A model card in Markdown (Mitchell et al. 2019, "Model Cards for Model Reporting"), from measured figures alone."""

from collections.abc import Sequence

from compression.analysis.runtime_records import RUNTIMES
from compression.experiments.results import ExperimentResult
from compression.experiments.wording import recipe_label, recipe_lines
from compression.problems import problem_of
from compression.reports.snippets import command_lines, runtime_snippet
from compression.reports.subject import Subject
from compression.reports.tables import environment_line, measured_how, runtime_rows
from compression.reports.text import figure_rows, format_bytes, markdown_table


def model_card(subject: Subject) -> str:
    """The card of a result: what, from which weights, data, licence, figures, how measured, limitations."""
    result, info, data = subject.result, subject.model, subject.dataset
    table = markdown_table(("figure", "this model", "uncompressed", "badge"), [_safe(r) for r in figure_rows(result)])
    sections = [
        f"# {info.title}, compressed\n\n{_what(subject)}",
        "## How it was made\n\n" + "\n".join(recipe_lines(result.recipe)),
        f"## Weights and licence\n\n{_weights(subject)}",
        f"## Data\n\n- {data.title}: {data.source}\n- licence: {data.license}\n"
        f"- scored on {result.figures.n_samples:,} predictions of the test split; calibration and training used the "
        "training split only",
        f"## Figures\n\n{table}",
        *(["## Promise\n\n" + _listed(subject.promise_lines)] if subject.promise_lines else []),
        *_runtimes(subject),
        "## How they were measured\n\n" + _listed(measured_how(result)),
        f"## Where\n\n{environment_line(result)}",
        "## Limitations\n\n" + _listed([*limitations(result), *result.explanation]),
        *(["## Notes from each step\n\n" + _listed(result.notes)] if result.notes else []),
        f"## Use\n\n```python\n{runtime_snippet(info, 'onnxruntime', subject.threads)}```",
        "## Reproduce\n\n```\n" + "\n".join(command_lines(result)) + "\n```",
    ]
    return "\n\n".join(sections) + "\n"


def _what(subject: Subject) -> str:
    info, result = subject.model, subject.result
    shape = " x ".join(map(str, info.input_shape))
    use = problem_of(info.task).use.format(shape=shape, classes=info.num_classes)
    packed, graph = (format_bytes(n) for n in (result.figures.size_bytes, result.figures.runtime_size_bytes))
    made = f"Recipe: {recipe_label(result.recipe)}. Size: {packed} packed, {graph} as ONNX."
    return f"{info.description} It {use}.\n\n{made}"


def _weights(subject: Subject) -> str:
    info = subject.model
    lines = [f"started from `{info.name}`: {info.source}", f"licence of these weights: {info.license}"]
    if subject.weights_hash:
        lines.append(f"SHA-256 of their file: `{subject.weights_hash}`")
    if info.published_accuracy is not None:
        lines.append(f"accuracy that their source states: {100 * info.published_accuracy:.2f} %")
    return _listed(lines)


def _runtimes(subject: Subject) -> list[str]:
    if not subject.records:
        return []
    header, rows = runtime_rows(subject)
    infos = [RUNTIMES[record.runtime] for record in subject.records]
    told = _listed([f"{info.title}: {info.says}" for info in infos])
    return [f"## Other runtimes\n\n{markdown_table(header, [_safe(row) for row in rows])}\n\n{told}"]


def limitations(result: ExperimentResult) -> list[str]:
    """What a reader has to know before relying on the figures."""
    others = "other data, and each class on its own," if result.figures.kind.unit else "other data"
    lines = [
        f"{result.figures.kind.title} holds for data like the test split; {others} may lose more.",
        "Latency belongs to the machine, threads and batch size named above.",
    ]
    if result.stage == "quick":
        word = result.figures.kind.word
        lines.append(f"A first result: {word} is from a part of the test split, latency from a short run.")
    if result.stopped_early:
        lines.append("A training was ended early: the recipe run to its end gives another artifact.")
    by_note: dict[str, list[str]] = {}
    for name, note in sorted(result.badge_notes.items()):
        by_note.setdefault(note, []).append(f"{name.replace('_', ' ')} ({result.badges.get(name, 'measured')})")
    return [*lines, *(f"{', '.join(names)}: {note}" for note, names in by_note.items())]


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _safe(row: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(cell.replace("|", "\\|") for cell in row)
