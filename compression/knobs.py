"""Fields of a technique's config that carry their own range, help and unit.

The form on the page, the command line, the sweep grid and the documentation are generated from these.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from types import MappingProxyType
from typing import Any

from compression.core.errors import InputError

_KEY = "knob"


@dataclass(frozen=True)
class Knob:
    """What a person needs to know to set one field.

    Attributes:
        low: Smallest allowed number (inclusive), or None.
        high: Largest allowed number (inclusive), or None.
        step: Step of a slider.
        choices: Allowed values where the field is not a range.
        further: What the chosen model adds to the choices ("students"); such names are checked with the model.
        sweep: Values that a sweep over this knob visits, weakest compression first.
        help: One sentence for the form.
        unit: Unit or meaning of the number ("fraction", "bits").
        advanced: Whether the form folds it away.
        by_layer: Whether one layer can have a value of its own; otherwise an override of it has no effect.
    """

    help: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    choices: tuple[Any, ...] | None = None
    further: str = ""
    sweep: tuple[Any, ...] = ()
    unit: str = ""
    advanced: bool = False
    by_layer: bool = True


def knob(default: Any, help: str, **metadata: Any) -> Any:
    """Dataclass field with a default and a `Knob`."""
    return field(default=default, metadata={_KEY: Knob(help=help, **metadata)})


@cache  # a list of a thousand recipes asks for them tens of thousands of times
def knobs_of(config_type: type) -> Mapping[str, Knob]:
    """Knobs of a config dataclass, by field name, in declaration order."""
    known = _fields_of(config_type).items()
    return MappingProxyType({name: f.metadata[_KEY] for name, f in known if _KEY in f.metadata})


def default_of(config_type: type, name: str) -> Any:
    """Default value of one field."""
    default = _fields_of(config_type)[name].default
    return None if default is MISSING else default


@cache
def _fields_of(config_type: type) -> dict[str, Field[Any]]:
    """Fields by name, kept for the same reason."""
    return {f.name: f for f in fields(config_type)}


def validate(config: Any, technique: str) -> None:
    """Check every knob of a config against its type, range and choices; whole numbers become floats where meant.

    Raises:
        InputError: naming ``technique.field``, the value and what is allowed.
    """
    for f in fields(config):
        if _KEY in f.metadata:
            value = getattr(config, f.name)
            _validate_field(f"{technique}.{f.name}", value, f.default, f.metadata[_KEY])
            if isinstance(f.default, float) and isinstance(value, int):
                object.__setattr__(config, f.name, float(value))


def _validate_field(name: str, value: Any, default: Any, spec: Knob) -> None:
    if spec.choices is not None:
        listed = any(type(value) is type(c) and value == c for c in spec.choices)
        named = bool(spec.further) and isinstance(value, str) and value.isidentifier()
        if not (listed or named):
            more = f", or the name of one of the model's {spec.further}" if spec.further else ""
            raise InputError(name, value, "allowed: " + ", ".join(str(c) for c in spec.choices) + more)
        return
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise InputError(name, value, "allowed: true or false")
        return
    if spec.low is None and spec.high is None:
        return
    whole = isinstance(default, int)
    kinds = (int,) if whole else (int, float)
    word = "a whole number" if whole else "a number"
    allowed = f"allowed: {word} from {spec.low} to {spec.high}"
    if isinstance(value, bool) or not isinstance(value, kinds) or value != value:
        raise InputError(name, value, allowed)
    low = spec.low if spec.low is not None else value
    high = spec.high if spec.high is not None else value
    if not low <= value <= high:
        raise InputError(name, value, allowed)
