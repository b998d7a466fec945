"""Results in words: the bundle's README and the command line's tables."""

from typing import Any

from compression.experiments.results import ExperimentResult, Figures
from compression.experiments.wording import accuracy_meaning, milliseconds, times

_KILO = 1000
_WIDE_WEIGHTS = """Weights have the whole range of 8 bits beside 8-bit activations. The integer kernels of x86
processors without VNNI overflow with these, so accuracy may be lower there; the recipe, run on such a processor, makes
weights of 7 bits."""


def format_bytes(size: int) -> str:
    """Bytes in kB, MB or GB (powers of 1000), three digits."""
    if size < _KILO:
        return f"{size} B"
    if size >= _KILO**3:
        return f"{size / _KILO**3:.2f} GB"
    return f"{size / _KILO:.1f} kB" if size < _KILO**2 else f"{size / _KILO**2:.2f} MB"


def format_accuracy(figures: Figures) -> str:
    """Accuracy in percent, or R2, with its 95 % interval."""
    own = figures.kind
    value, low, high = (own.shown(v) for v in (figures.accuracy, figures.accuracy_low, figures.accuracy_high))
    digits, unit = own.digits + 1, f" {own.unit}" if own.unit else ""
    return f"{value:.{digits}f}{unit} ({low:.{digits}f} to {high:.{digits}f}, n = {figures.n_samples:,})"


def format_error(figures: Figures) -> str:
    """Mean absolute error with its 95 % interval; a dash of classifiers."""
    value, low, high = (
        getattr(figures, f"mean_absolute_error{end}") for end in ("", "_low", "_high")
    )
    return "-" if value is None else f"{value:.4g} ({low:.4g} to {high:.4g})"


def format_latency(figures: Figures) -> str:
    """Median latency with its 95 % interval."""
    if figures.latency_ms_p50 is None:
        return "not timed"
    return (
        f"{milliseconds(figures.latency_ms_p50)} ({figures.latency_low:#.3g} to {figures.latency_high:#.3g}), "
        f"p95 {milliseconds(figures.latency_ms_p95 or figures.latency_ms_p50)}"
    )


def figure_rows(result: ExperimentResult) -> list[tuple[str, str, str, str]]:
    """Rows of (figure, this artifact, baseline, badge)."""
    own, base, badges = result.figures, result.baseline, result.badges

    def row(title: str, name: str, show: Any) -> tuple[str, str, str, str]:
        return title, show(own), show(base), "" if getattr(own, name) is None else badges.get(name, "")

    rows = [
        row(own.kind.title, "accuracy", format_accuracy),
        *_change_rows(result),
        row("Packed weights", "size_bytes", lambda f: format_bytes(f.size_bytes)),
        row("ONNX file", "runtime_size_bytes", lambda f: format_bytes(f.runtime_size_bytes)),
        row("Latency", "latency_ms_p50", format_latency),
        row("Speed-up", "speedup", _speedup),
        row("MACs", "macs", lambda f: f"{f.macs:,}"),
        row("Parameters", "parameters", lambda f: f"{f.parameters:,}"),
        row("Non-zero parameters", "nonzero_parameters", lambda f: f"{f.nonzero_parameters:,}"),
        row("Peak memory", "peak_memory_bytes", lambda f: _optional(f.peak_memory_bytes, format_bytes)),
        row("Energy", "energy_mj", lambda f: _optional(f.energy_mj, _millijoule)),
        row("Energy, counted", "energy_measured_mj", lambda f: _optional(f.energy_measured_mj, _millijoule)),
        row("Cost per million", "cost_per_million", lambda f: _optional(f.cost_per_million, lambda v: f"{v:.4f}")),
    ]
    if own.mean_absolute_error is not None:
        rows.insert(1, row("Mean absolute error", "mean_absolute_error", format_error))
    if own.bits_per_character is not None:
        bits = row("Bits per character", "bits_per_character", lambda f: _optional(f.bits_per_character, _bits))
        rows.insert(1, bits)
    return rows


def _change_rows(result: ExperimentResult) -> list[tuple[str, str, str, str]]:
    """The difference of accuracies on the same samples; none for the baseline itself or where it is not known."""
    change = result.change
    if change is None:
        return []
    kind = result.figures.kind
    digits, ends = kind.digits + 1, (change.value, change.low, change.high)
    value, low, high = (f"{kind.shown(number):+.{digits}f}" for number in ends)
    tie = ", a tie" if change.tied else ""
    shown = f"{value} {kind.difference_unit} ({low} to {high}, on the same {change.n_samples:,}){tie}"
    return [(f"Change of {kind.word}", shown, "-", result.badges.get("accuracy", ""))]


def _speedup(figures: Figures) -> str:
    if figures.speedup is None:
        return "not timed"
    return times(figures.speedup, figures.speedup_low or figures.speedup, figures.speedup_high or figures.speedup)


def _bits(bits: float) -> str:
    return f"{bits:.3f}"


def _millijoule(energy: float) -> str:
    return f"{energy:.3f} mJ"


def _optional(value: Any, show: Any) -> str:
    return "-" if value is None else show(value)


def text_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns aligned with spaces."""
    widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [header, *rows]]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bundle_readme(result: ExperimentResult, title: str, spec: dict[str, Any]) -> str:
    """README of an exported bundle.

    Args:
        result: What was measured.
        title: Of the model.
        spec: The content of its input_spec.json.
    """
    table = markdown_table(("figure", "this model", "uncompressed", "badge"), figure_rows(result))
    meaning = accuracy_meaning(result.task, result.samples)
    counted = f"Accuracy: {meaning}.\n" if meaning else ""
    told = "\n".join(f"- {line}" for line in (*result.explanation, *result.notes)) or "- nothing to remark"
    elsewhere = f"\n## On other processors\n{_WIDE_WEIGHTS}\n" if spec["wide_integer_weights"] else ""
    needs, env = spec["requires"], result.environment
    tested = f"{env.get('system')} {env.get('architecture')}, {env.get('cpu')}, ONNX Runtime {env.get('onnxruntime')}"
    shape_in, shape_out = (", ".join(map(str, dims)) for dims in (spec["shape"], spec["output"]["shape"][1:]))
    takes = "a text" if "text" in spec else "PNG or JPEG files (with Pillow)" if "image" in spec else "token ids"
    environment = ", ".join(f"{name}: {value}" for name, value in result.environment.items())
    return f"""# {title}, compressed

{table}

`measured`: this artifact was executed or weighed. `simulated`: the numerics are exact, but no kernel of this CPU
runs them natively; the latency is that of the kernel that really ran. `estimated`: computed from a model.
`preliminary`: from a few samples or a short timing. `disturbed`: timed on a busy machine. {counted}Latencies are on one
clock: the uncompressed model's median, pooled from all its timings, divided by the speed-up.

Measured on {environment}.

## Remarks
{told}
{elsewhere}
## Run it
`pip install "onnxruntime>={needs['onnxruntime']}" numpy`{" pillow" if "image" in spec else ""}, then:
- `python run.py`: classifies the stored samples and times the model on {spec['runtime']['threads']} thread(s)
- `python run.py INPUT ...`: takes {takes}, or a `.npy` file
- `python run.py --check`: compares predictions on the stored samples with the exported ones
- `python run.py --benchmark`: prints the latency as JSON

The graph has opset {needs['opset']} and IR version {needs['ir_version']}; the first ONNX Runtime that loads them is
{needs['onnxruntime']}. It was tested on {tested}, and not on other systems.
Input "input": {spec['dtype']}, (batch, {shape_in}); output "output": {spec['output']['values']}, (batch, {shape_out}).

## Files
- `model.onnx`: the graph that was scored and timed
- `weights.packed`: the same weights, bit-packed and entropy-coded
- `recipe.yaml`: how they were made; `result.json`: every number
- `input_spec.json`: shapes, preprocessing, and the name of each class in the order of the outputs
- `probe.npz`: some scored samples before the preprocessing, their labels, and this graph's predictions
- `run.py`: runs the model with onnxruntime and numpy alone; `SHA256SUMS`: for `sha256sum -c`

`python -m compression verify BUNDLE` replays the measurement and compares.
"""
