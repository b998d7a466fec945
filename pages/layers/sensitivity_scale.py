"""What the sensitivity map is coloured and ordered by. Maps in, numbers out; no Streamlit here."""

import math
from collections.abc import Sequence

import numpy as np

from compression.service import SensitivityMap, get_technique, knobs_of
from pages.shared.formats import knob_label

FLOOR = 1e-6  # nats; less is rounding
LOW, HIGH = 5, 95
_LEAST_SPAN = 0.5
_NEAR = 0.25


def log_error(error: float) -> float:
    """The decimal logarithm of an error in nats, of one below 1e-6 that of 1e-6."""
    return math.log10(max(error, FLOOR))


def color_range(maps: Sequence[SensitivityMap]) -> tuple[float, float]:
    """Ends of the colour scale, as decimal logarithms of nats: the 5th and the 95th percentile of the map's cells.

    Few cells may differ from the others by many decades; the scale shows differences among the others. It spans at
    least half a decade, so that noise is not stretched over all colours.
    """
    errors = [log_error(row.error) for own in maps for row in own.known]
    if not errors:
        return -3.0, 0.0
    low, high = (float(end) for end in np.percentile(errors, (LOW, HIGH)))
    missing = max(0.0, _LEAST_SPAN - (high - low)) / 2
    return low - missing, high + missing


def color_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Places and texts on the colour scale: its ends, and the powers of ten between them."""
    inside = [e for e in range(math.ceil(low), math.floor(high) + 1) if e - low > _NEAR and high - e > _NEAR]
    ends = [(low, f"\u2264 {10**low:.1g}"), (high, f"\u2265 {10**high:.1g}")]
    return sorted([*ends, *((float(e), f"{10.0**e:g}") for e in inside)])


def ranked(maps: Sequence[SensitivityMap]) -> list[str]:
    """Layers, measured or predicted, the most sensitive first, by the geometric mean of their errors over the columns.

    Every layer that is compared has the columns of the others, as far as the technique can act on it.
    """
    logs: dict[str, list[float]] = {}
    for own in maps:
        for row in own.known:
            logs.setdefault(row.fqn, []).append(log_error(row.error))
    return sorted(logs, key=lambda fqn: -sum(logs[fqn]) / len(logs[fqn]))


def varied_knob(technique: str) -> str:
    """The knob that a technique's columns vary, with its unit: "Weight bits", "Sparsity (fraction)"."""
    found = get_technique(technique)
    return knob_label(found.main_knob, knobs_of(found.config_type)[found.main_knob])
