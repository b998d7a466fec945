"""Numbers and recipes in words: units, sensible digits, no false precision."""

from collections.abc import Mapping
from typing import Any

from compression.experiments import Figures, format_bytes, get_technique, knobs_of


def percent(fraction: float, digits: int = 1) -> str:
    """0.987 as "98.7 %"."""
    return f"{100 * fraction:.{digits}f} %"


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
    if value is None:
        return "not timed yet"
    return f"{value:#.3g} ms" if value < 100 else f"{value:.0f} ms"


def interval_ms(figures: Figures) -> str:
    """Latency's interval, p95 included."""
    if figures.latency_ms_p50 is None or figures.latency_low is None or figures.latency_high is None:
        return "not timed yet"
    return (
        f"95 % interval {figures.latency_low:.3g} to {figures.latency_high:.3g} ms, "
        f"p95 {milliseconds(figures.latency_ms_p95)}"
    )


def interval_percent(figures: Figures) -> str:
    """Accuracy's Wilson interval and its sample size."""
    low, high = percent(figures.accuracy_low), percent(figures.accuracy_high)
    return f"95 % interval {low} to {high}, n = {figures.n_samples:,}"


def count(number: float) -> str:
    """1234567 as "1.23 M"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:g}"


def baseline_line(figures: Figures) -> str:
    """The uncompressed model in one line."""
    parts = [
        f"**{percent(figures.accuracy)}** ({100 * figures.accuracy_low:.1f} to {100 * figures.accuracy_high:.1f})",
        f"**{format_bytes(figures.size_bytes)}**",
        f"**{milliseconds(figures.latency_ms_p50)}**",
    ]
    if figures.bits_per_character is not None:
        parts.insert(1, f"**{figures.bits_per_character:.2f}** bits per character")
    return "fp32: " + " \u00b7 ".join(parts)


def knob_value(value: Any) -> str:
    """A knob's value: short floats, words as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def step_label(step: Mapping[str, Any]) -> str:
    """One step in short: its title, main knob and what else is not the default."""
    technique = get_technique(str(step["technique"]))
    shown = []
    for name in knobs_of(technique.config_type):
        value = step.get(name, _default(technique.config_type, name))
        if name == technique.main_knob or value != _default(technique.config_type, name):
            shown.append(f"{name} {knob_value(value)}")
    shown += [f"{word} {len(step[word])}" for word in ("layers", "overrides") if step.get(word)]
    return f"{technique.title}: " + ", ".join(shown)


def _default(config_type: type, name: str) -> Any:
    return config_type.__dataclass_fields__[name].default


def recipe_label(recipe: Mapping[str, Any]) -> str:
    """A recipe in one line; "uncompressed" for the baseline."""
    return " + ".join(step_label(step) for step in recipe["steps"]) or "uncompressed"


def recipe_lines(recipe: Mapping[str, Any]) -> list[str]:
    """The whole recipe, every knob, one line per step."""
    lines = []
    for number, step in enumerate(recipe["steps"], 1):
        technique = get_technique(str(step["technique"]))
        knobs = ", ".join(f"{k} {knob_value(v)}" for k, v in step.items() if k in knobs_of(technique.config_type))
        extra = ", ".join(f"{word}: {step[word]}" for word in ("layers", "overrides") if step.get(word))
        lines.append(f"{number}. {technique.title}: {knobs}{'; ' + extra if extra else ''}")
    return lines or ["uncompressed"]
