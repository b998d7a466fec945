"""Numbers and recipes in words: units, sensible digits, no false precision."""

from collections.abc import Mapping

from compression.experiments.clock import is_disturbed
from compression.experiments.pairing import AccuracyChange
from compression.experiments.results import ACCURACY, Quality
from compression.experiments.wording import (
    accuracy_meaning,
    file_stem,
    knob_value,
    percent,
    recipe_label,
    recipe_lines,
    step_label,
)
from compression.experiments.wording import milliseconds as _milliseconds
from compression.service import ExperimentResult, Figures, Knob, format_bytes

__all__ = [
    "PERCENT_COLUMN", "accuracy_change", "baseline_line", "change", "count", "file_stem", "interval_ms",
    "interval_percent", "knob_label", "knob_value", "milliseconds", "percent", "quality_ends", "quality_text",
    "recipe_label", "recipe_lines", "run_name", "signed", "step_label", "told_apart",
]
PERCENT_COLUMN = "%.1f %%"  # of a table; Streamlit's own "percent" leaves the space out


def signed(number: float, digits: int, unit: str = "") -> str:
    """A difference with its sign, never "-0". An ASCII minus: Streamlit's deltas read nothing else."""
    shown = f"{abs(number):.{digits}f}"
    sign = "" if float(shown) == 0 else ("+" if number > 0 else "-")
    return f"{sign}{shown}{unit}"


def change(own: float, base: float) -> str:
    """Relative change against the baseline, e.g. "-74 %"."""
    return signed(100 * (own / base - 1), 0 if abs(own / base - 1) >= 0.1 else 1, " %") if base else ""


def milliseconds(value: float | None) -> str:
    """Latency with three significant digits."""
    return "not timed yet" if value is None else _milliseconds(value)


def interval_ms(figures: Figures) -> str:
    """Latency's interval, p95 included."""
    if figures.latency_ms_p50 is None or figures.latency_low is None or figures.latency_high is None:
        return "not timed yet"
    return (
        f"95 % interval {figures.latency_low:#.3g} to {figures.latency_high:#.3g} ms, "
        f"p95 {milliseconds(figures.latency_ms_p95)}"
    )


def interval_percent(figures: Figures) -> str:
    """Interval of the quality (accuracy, R2) and its sample size."""
    low, high = (figures.kind.text(end) for end in (figures.accuracy_low, figures.accuracy_high))
    return f"95 % interval {low} to {high}, n = {figures.n_samples:,}"


def quality_text(figures: Figures, digits: int | None = None) -> str:
    """Accuracy in percent, or R2 with its name: as it stands among other figures."""
    text = figures.kind.text(figures.accuracy, digits)
    return text if figures.kind.unit else f"{figures.kind.title} {text}"


def quality_ends(figures: Figures, digits: int | None = None) -> str:
    """Ends of the quality's interval, without their unit."""
    kind = figures.kind
    decimals = kind.digits if digits is None else digits
    return " to ".join(f"{kind.shown(end):.{decimals}f}" for end in (figures.accuracy_low, figures.accuracy_high))


def accuracy_change(own: AccuracyChange, kind: Quality = ACCURACY, digits: int | None = None) -> str:
    """A difference of qualities with its interval: "+0.6 points (+0.4 to +0.9), better"."""
    decimals = kind.digits if digits is None else digits
    value, low, high = (f"{kind.shown(number):+.{decimals}f}" for number in (own.value, own.low, own.high))
    verdict = "a tie" if own.tied else "better" if own.value > 0 else "worse"
    return f"{value} {kind.difference_unit} ({low} to {high}), {verdict}"


def count(number: float) -> str:
    """1234567 as "1.23 M"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:g}"


def baseline_line(result: ExperimentResult) -> str:
    """The uncompressed model in one line; its accuracy says what it counts, and whether it is preliminary."""
    figures, meaning = result.figures, accuracy_meaning(result.task, result.samples)
    interval = quality_ends(figures)
    if result.badges.get("accuracy") == "preliminary":
        interval += "; preliminary"
    parts = [
        f"**{quality_text(figures)}** {meaning} ({interval})" if meaning else
        f"**{quality_text(figures)}** ({interval})",
        f"**{format_bytes(figures.size_bytes)}**",
        _latency(figures),
    ]
    if figures.mean_absolute_error is not None:
        parts.insert(1, f"mean absolute error **{figures.mean_absolute_error:.3g}**")
    if figures.bits_per_character is not None:
        parts.insert(1, f"**{figures.bits_per_character:.2f}** bits per character")
    return "fp32: " + " \u00b7 ".join(parts)


def _latency(figures: Figures) -> str:
    """Latency with its interval."""
    text = f"**{milliseconds(figures.latency_ms_p50)}**"
    if figures.latency_low is None or figures.latency_high is None:
        return text
    busy = "; disturbed: the machine was busy" if is_disturbed(figures) else ""
    return f"{text} ({figures.latency_low:#.3g} to {figures.latency_high:#.3g}{busy})"


def run_name(result: ExperimentResult, dataset: str = "") -> str:
    """A run in a picker: its recipe, accuracy and size, and the dataset that it was scored on where that is told."""
    figures, where = result.figures, f" on {dataset}" if dataset else ""
    return f"{recipe_label(result.recipe)} ({quality_text(figures)}{where}, {figures.size_bytes / 1000:.0f} kB)"


def told_apart(names: Mapping[str, str]) -> dict[str, str]:
    """The same with numbers behind equal names: the browser knows what is picked by its name alone."""
    counts: dict[str, int] = {}
    apart = {}
    for key, name in names.items():
        counts[name] = counts.get(name, 0) + 1
        apart[key] = name if counts[name] == 1 else f"{name} #{counts[name]}"
    return apart


def knob_label(name: str, knob: Knob) -> str:
    """A knob's name for people, with its unit."""
    label = name.replace("_", " ").capitalize()
    return f"{label} ({knob.unit})" if knob.unit and knob.unit not in name else label
