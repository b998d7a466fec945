"""Rows and sentences that the report and the card share."""

from compression.analysis.runtime_records import RUNTIMES, RuntimeRecord
from compression.experiments.results import ExperimentResult
from compression.experiments.wording import accuracy_meaning, milliseconds, times
from compression.problems import quality
from compression.recipe import recipe_from_dict
from compression.reports.subject import Subject
from compression.reports.text import format_bytes

_RUNTIME_HEADER = ("latency", "uncompressed there", "speed-up there", "file", "same predictions")


def runtime_rows(subject: Subject) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of the runtimes that a result was measured in, ONNX Runtime first."""
    result = subject.result
    own, base = result.figures, result.baseline
    first = (
        _named("onnxruntime", str(result.environment.get("onnxruntime", ""))),
        _quality(own.quality, own.accuracy, own.accuracy_low, own.accuracy_high),
        _ms(own.latency_ms_p50, own.latency_low, own.latency_high),
        _ms(base.latency_ms_p50, base.latency_low, base.latency_high),
        _times(own.speedup, own.speedup_low, own.speedup_high),
        format_bytes(own.runtime_size_bytes),
        "-",
    )
    return ("runtime", own.kind.word, *_RUNTIME_HEADER), [first, *(_row(record) for record in subject.records)]


def _row(record: RuntimeRecord) -> tuple[str, ...]:
    parts = [] if record.agreement is None else [f"{100 * record.agreement:.2f} % of {record.n_samples:,}"]
    if record.largest_difference is not None:
        parts.append(f"outputs within {record.largest_difference:.2g}")
    agreement = ", ".join(parts) or "-"
    if record.float_activations:
        agreement += "; float activations"
    return (
        _named(record.runtime, record.version),
        _quality(record.quality, record.accuracy, record.accuracy_low, record.accuracy_high),
        _ms(record.latency_ms_p50, record.latency_low, record.latency_high),
        _ms(record.baseline_ms_p50, record.baseline_low, record.baseline_high),
        _times(record.speedup, record.speedup_low, record.speedup_high),
        format_bytes(record.file_size_bytes),
        agreement,
    )


def _named(runtime: str, version: str) -> str:
    return f"{RUNTIMES[runtime].title} {version}".strip()


def _quality(key: str, value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return "not scored"
    own = quality(key)
    digits = own.digits + 1
    return f"{own.text(value, digits)} ({own.shown(low):.{digits}f} to {own.shown(high):.{digits}f})"


def _ms(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return "not timed"
    return f"{milliseconds(value)} ({low:#.3g} to {high:#.3g})"


def _times(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or low is None or high is None:
        return "not timed"
    return times(value, low, high)


def environment_line(result: ExperimentResult) -> str:
    """The machine and the versions, in one line."""
    return ", ".join(f"{name}: {value}" for name, value in result.environment.items())


def measured_how(result: ExperimentResult) -> list[str]:
    """How each kind of figure came about."""
    runtime, own = recipe_from_dict(result.recipe).runtime, result.figures.kind
    threads = "one thread" if runtime.threads == 1 else f"{runtime.threads} threads"
    return [
        f"{own.title}: the exported ONNX graph executed on the test split{_counted(result)}; 95 % {own.interval}. "
        f"Changes of {own.word}: on the same samples, 95 % {own.paired_interval}.",
        "Packed weights: bytes of one file with bit-packed, entropy-coded weights and all tables; the ONNX graph is "
        "compiled from what was read back from it.",
        f"Latency: median of one inference, batch of {runtime.batch_size}, {threads}, no spinning, in a process of its "
        "own, in shuffled short blocks interleaved with the uncompressed model's; the speed-up has a 95 % bootstrap "
        "interval over blocks. Latencies are on one clock: the uncompressed model's median, pooled from all its "
        "timings, divided by the speed-up.",
        "measured: executed or weighed. simulated: the numerics are exact, but no kernel of this CPU runs them "
        "natively. estimated: computed from a model. preliminary: from a few samples or a short timing. "
        "disturbed: timed on a busy machine.",
    ]


def _counted(result: ExperimentResult) -> str:
    meaning = accuracy_meaning(result.task, result.samples)
    return f" ({meaning})" if meaning else ""
