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
