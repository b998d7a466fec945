"""Recipes in words, for pages and reports alike."""

from collections.abc import Mapping
from typing import Any

from compression.knobs import default_of, knobs_of
from compression.techniques import get_technique


def percent(fraction: float, digits: int = 1) -> str:
    """0.987 as "98.7 %"."""
    return f"{100 * fraction:.{digits}f} %"


def knob_value(value: Any) -> str:
    """A knob's value: short floats, words as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def step_label(step: Mapping[str, Any]) -> str:
    """One step in short: its title, main knob and what else is not the default."""
    technique = get_technique(str(step["technique"]))
    shown = []
    for name in knobs_of(technique.config_type):
        default = default_of(technique.config_type, name)
        value = step.get(name, default)
        if name == technique.main_knob or value != default:
            shown.append(f"{name} {knob_value(value)}")
    shown += [f"{word} {len(step[word])}" for word in ("layers", "overrides") if step.get(word)]
    return f"{technique.title}: " + ", ".join(shown)


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
