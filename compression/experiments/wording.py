"""Recipes in words, for pages and reports alike."""

import re
from collections.abc import Mapping
from typing import Any

from compression.experiments.results import ExperimentResult, plain_model
from compression.knobs import default_of, knobs_of
from compression.techniques import get_technique

_LONGEST_SLUG = 100


def percent(fraction: float, digits: int = 1) -> str:
    """0.987 as "98.7 %"."""
    return f"{100 * fraction:.{digits}f} %"


def milliseconds(value: float) -> str:
    """A latency with three significant digits."""
    return f"{value:#.3g} ms" if value < 100 else f"{value:.0f} ms"


def times(ratio: float, low: float, high: float) -> str:
    """A speed-up with its interval, "2.21x (2.18 to 2.24)": with digits that tell the ends from the middle."""
    ends = [abs(end - ratio) for end in (low, high) if end != ratio]
    digits = next((n for n in (2, 3, 4) if all(end >= 10**-n for end in ends)), 5)
    return f"{ratio:.2f}x ({low:.{digits}f} to {high:.{digits}f})"


def samples_text(task: str, rows: int, length: int) -> str:
    """A number of scored samples in words.

    Args:
        task: Of the model.
        rows: Samples.
        length: Predictions per sample, of text.
    """
    if task == "language_modeling":
        return f"{rows:,} windows of {length} characters"
    return f"{rows:,} {'sentences' if task == 'text_classification' else 'images'}"


_RIGHT = {
    "image_classification": "classified correctly (top-1)",
    "binary_classification": "classified correctly",
    "regression": "share of the variance explained",
    "text_classification": "classified correctly",
    "language_modeling": "next character predicted correctly",
}


def accuracy_meaning(task: str, samples: str) -> str:
    """What an accuracy counts: "next character predicted correctly, of 24 windows of 128 characters"."""
    meaning = _RIGHT.get(task, "")
    return f"{meaning}, of {samples}" if meaning and samples else meaning


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


def recipe_slug(recipe: Mapping[str, Any]) -> str:
    """A recipe as part of a file name: each technique with its main knob and what else is not the default.

    Example: "quantization-weight_bits4-activation_bits8". Advanced knobs are left out, and of steps beyond 100
    characters the technique alone stands there.
    """
    slug = ""
    for step in recipe["steps"]:
        technique = get_technique(str(step["technique"]))
        words = [technique.key]
        for name, knob in knobs_of(technique.config_type).items():
            value = step.get(name, default_of(technique.config_type, name))
            if name == technique.main_knob or (not knob.advanced and value != default_of(technique.config_type, name)):
                words.append(name + re.sub(r"[^A-Za-z0-9.]+", "_", knob_value(value)))
        if len(slug) + len("-".join(words)) > _LONGEST_SLUG:
            words = words[:1]
        slug = "-".join([slug, *words] if slug else words)
    return slug or "uncompressed"


def file_stem(result: ExperimentResult) -> str:
    """What a result's exported files are called, without an ending: model, recipe and the start of its key."""
    return f"{plain_model(result.recipe['model'])}-{recipe_slug(result.recipe)}-{result.key[:8]}"
