"""Recipes: technique configs applied in order, with a YAML / JSON round trip and a stable hash."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

import yaml

from compression.core.errors import InputError
from compression.techniques import get_technique

RUNTIMES = ("onnxruntime",)
_RECIPE_FIELDS = ("model", "dataset", "n_samples", "seed", "runtime", "steps")
_STEP_FIELDS = ("technique", "layers", "overrides")
_LAYER_FIELDS = ("include", "exclude")


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(name, value, f"allowed: a whole number from {low} to {high}")


@dataclass(frozen=True)
class Runtime:
    """Where and how the artifact is executed and timed."""

    name: str = "onnxruntime"
    threads: int = 1
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.name not in RUNTIMES:
            raise InputError("runtime.name", self.name, "allowed: " + ", ".join(RUNTIMES))
        _check_whole("runtime.threads", self.threads, 1, 64)
        _check_whole("runtime.batch_size", self.batch_size, 1, 256)


@dataclass(frozen=True)
class Step:
    """One technique with its config, the layers it is limited to and per-layer overrides."""

    technique: str
    config: Any
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Recipe:
    """A model, a dataset to score on, and the steps in order; no steps means the uncompressed baseline."""

    model: str | Mapping[str, Any]
    dataset: str
    steps: tuple[Step, ...] = ()
    seed: int = 0
    n_samples: int | None = None
    runtime: Runtime = Runtime()

    def __post_init__(self) -> None:
        _check_whole("seed", self.seed, 0, 2**31 - 1)
        if self.n_samples is not None:
            _check_whole("n_samples", self.n_samples, 1, 10**9)

    def baseline(self) -> "Recipe":
        """The same without any step."""
        return replace(self, steps=())


def _check_mapping(name: str, value: object, allowed: tuple[str, ...] | None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(name, value, "a mapping is needed")
    for key in value:
        if not isinstance(key, str) or (allowed is not None and key not in allowed):
            raise InputError(f"{name}.{key}", value[key], "allowed fields: " + ", ".join(allowed or ("names",)))
    return value


def _given(mapping: Mapping[str, Any], name: str, otherwise: object) -> object:
    """The value of a field, or `otherwise` where it is missing or null."""
    value = mapping.get(name)
    return otherwise if value is None else value


def _patterns(name: str, value: object) -> tuple[str, ...]:
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise InputError(name, value, "a list of layer names or regular expressions is needed")
    for pattern in value:
        _check_pattern(name, pattern)
    return tuple(value)


def _check_pattern(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise InputError(name, pattern, f"a layer's name or a regular expression is needed: {error}") from None


def step_from_dict(data: object) -> Step:
    """Build a step from its mapping form.

    Raises:
        InputError: for an unknown technique or field, a wrong type or a value out of range.
    """
    mapping = _check_mapping("steps", data, None)
    technique = get_technique(mapping.get("technique"))
    knob_names = tuple(f.name for f in fields(technique.config_type))
    values: dict[str, Any] = {}
    for name, value in mapping.items():
        if name in knob_names:
            values[name] = value
        elif name not in _STEP_FIELDS:
            allowed = "allowed fields: " + ", ".join(knob_names + _STEP_FIELDS[1:])
            raise InputError(f"{technique.key}.{name}", value, allowed)
    layers = _check_mapping("layers", _given(mapping, "layers", {}), _LAYER_FIELDS)
    overrides = _check_mapping("overrides", _given(mapping, "overrides", {}), None)
    for pattern, changes in overrides.items():
        _check_pattern("overrides", pattern)
        _check_mapping(f"overrides.{pattern}", changes, knob_names)
        technique.config_type(**{**values, **changes})
    return Step(
        technique=technique.key,
        config=technique.config_type(**values),
        include=_patterns("layers.include", _given(layers, "include", ())),
        exclude=_patterns("layers.exclude", _given(layers, "exclude", ())),
        overrides={p: dict(c) for p, c in overrides.items()},
    )


def step_to_dict(step: Step) -> dict[str, Any]:
    """Mapping form of a step, every knob written out."""
    data: dict[str, Any] = {"technique": step.technique, **asdict(step.config)}
    layers = {"include": list(step.include), "exclude": list(step.exclude)}
    if layers := {k: v for k, v in layers.items() if v}:
        data["layers"] = layers
    if step.overrides:
        data["overrides"] = {p: dict(c) for p, c in step.overrides.items()}
    return data


def recipe_from_dict(data: object) -> Recipe:
    """Build a recipe from its mapping form; inverse of `recipe_to_dict`.

    Raises:
        InputError: naming the field, the value and what is allowed.
    """
    mapping = _check_mapping("recipe", data, _RECIPE_FIELDS)
    model = mapping.get("model")
    if not isinstance(model, str | Mapping):
        forms = "a model's name, or a mapping with architecture and weights, onnx or huggingface, is needed"
        raise InputError("model", model, forms)
    dataset = mapping.get("dataset")
    if not isinstance(dataset, str):
        raise InputError("dataset", dataset, "a dataset's name is needed")
    runtime = _check_mapping("runtime", _given(mapping, "runtime", {}), ("name", "threads", "batch_size"))
    steps = _given(mapping, "steps", [])
    if not isinstance(steps, list | tuple):
        raise InputError("steps", steps, "a list of steps is needed")
    return Recipe(
        model=model if isinstance(model, str) else dict(model),
        dataset=dataset,
        steps=tuple(step_from_dict(s) for s in steps),
        seed=mapping.get("seed", 0),
        n_samples=mapping.get("n_samples"),
        runtime=Runtime(**runtime),
    )


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """Mapping form of a recipe, every knob written out."""
    data: dict[str, Any] = {
        "model": recipe.model if isinstance(recipe.model, str) else dict(recipe.model),
        "dataset": recipe.dataset,
        "seed": recipe.seed,
        "runtime": asdict(recipe.runtime),
        "steps": [step_to_dict(s) for s in recipe.steps],
    }
    if recipe.n_samples is not None:
        data["n_samples"] = recipe.n_samples
    return data


def recipe_from_yaml(text: str | bytes) -> Recipe:
    """Read a recipe from YAML (JSON is YAML too). Nothing but plain data is ever constructed.

    Raises:
        InputError: if the text is no YAML or no recipe.
    """
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a bad date or a huge number is a ValueError
        reason = " ".join(str(error).split())
        raise InputError("recipe", reason, "a YAML or JSON mapping is needed") from None
    return recipe_from_dict(data)


def recipe_to_yaml(recipe: Recipe) -> str:
    """YAML form of a recipe."""
    return yaml.safe_dump(recipe_to_dict(recipe), sort_keys=False)


def recipe_hash(recipe: Recipe) -> str:
    """Stable hash of everything a recipe says: 16 hexadecimal digits."""
    canonical = json.dumps(recipe_to_dict(recipe), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
