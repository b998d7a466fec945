"""Metric cards: what an artifact costs and brings against its baseline, each number with its badge."""

from dataclasses import dataclass
from typing import Literal

import streamlit as st

from compression.experiments.wording import accuracy_meaning, times
from compression.service import ExperimentResult, format_bytes
from pages.shared.formats import accuracy_change, change, count, interval_ms, interval_percent, milliseconds, signed
from pages.shared.palette import BADGE_COLORS

UNCOMPRESSED = "the uncompressed model"
_BADGE_ICONS = {"measured": ":material/check:", "simulated": ":material/science:", "estimated": ":material/calculate:",
                "preliminary": ":material/hourglass_top:", "disturbed": ":material/warning:"}
_BADGE_HELP = {
    "measured": "This artifact was executed or weighed, and this is what came out.",
    "simulated": "The numerics are exact, but no kernel on this CPU runs them natively.",
    "estimated": "Computed from a model, not measured.",
    "preliminary": "From a few samples or a short timing; the final figure is being measured.",
    "disturbed": "Timed on a busy machine.",
}


@dataclass(frozen=True)
class Card:
    """One number in a card.

    Attributes:
        title: Name for people.
        value: The number with its unit.
        delta: Change against the baseline, empty for none.
        color: Streamlit's delta colour: "inverse" where lower is better, "off" for a tie.
        help: Interval and remarks.
        badge: "measured", "simulated", "estimated", "preliminary" or "disturbed".
        label: The badge's text.
        badge_note: Why, on hover.
    """

    title: str
    value: str
    delta: str
    color: Literal["normal", "inverse", "off"]
    help: str
    badge: str
    label: str
    badge_note: str


def cards_of(result: ExperimentResult, against: str | None = None, *, same_data: bool = True) -> list[Card]:
    """The cards of one result.

    Args:
        result: What is shown; its changes are those against its baseline.
        against: What that baseline is. By default the uncompressed model, from which itself differs in nothing; empty
            where no changes are to be shown.
        same_data: Whether both were scored on the same data; else their accuracies cannot be compared.
    """
    if against is None:
        against = UNCOMPRESSED if result.recipe["steps"] else ""
    own, base = result.figures, result.baseline
    cards = [_quality(result, against if same_data else ""), *_errors(result, against if same_data else "")]
    if own.bits_per_character is not None:
        cards.append(_bits(result, against if same_data else ""))
    cards.append(_bytes(result, "Packed size", "size_bytes", against))
    cards.append(_bytes(result, "ONNX file", "runtime_size_bytes", against))
    cards.append(_latency(result, against))
    macs = change(own.macs, base.macs) if against else ""
    cards.append(_card(result, "MACs", "macs", count(own.macs), _unless_same(macs), "inverse", "One inference."))
    return cards


def _quality(result: ExperimentResult, against: str) -> Card:
    own, base = result.figures, result.baseline
    meaning = accuracy_meaning(result.task, result.samples)
    remark = f"{meaning[:1].upper()}{meaning[1:]}; " if meaning else ""
    remark += interval_percent(own)
    delta, color = "", "normal"
    if against and own.n_samples == base.n_samples:
        tie = own.accuracy_low <= base.accuracy_high and base.accuracy_low <= own.accuracy_high
        if result.change is not None:
            tie = result.change.tied
            shown = accuracy_change(result.change, own.kind)
            remark += f"; change over {against}, on the same samples: {shown}"
        delta = own.kind.difference(own.accuracy - base.accuracy) + (", a tie" if tie else "")
        color = "off" if tie else "normal"
    return _card(result, own.kind.title, "accuracy", own.kind.text(own.accuracy), delta, color, remark)


def _errors(result: ExperimentResult, against: str) -> list[Card]:
    """The mean absolute error of a regression, in the unit of its values."""
    own, base = result.figures, result.baseline
    if own.mean_absolute_error is None:
        return []
    low, high = own.mean_absolute_error_low, own.mean_absolute_error_high
    remark = f"95 % interval {low:.3g} to {high:.3g}, in the unit of the values"
    same = against and own.n_samples == base.n_samples
    delta = change(own.mean_absolute_error, base.mean_absolute_error or 0.0) if same else ""
    value, name = f"{own.mean_absolute_error:.3g}", "mean_absolute_error"
    tie = low <= (base.mean_absolute_error_high or 0.0) and (base.mean_absolute_error_low or 0.0) <= high
    color = "off" if tie else "inverse"
    delta = f"{delta}, a tie" if tie and delta else delta
    return [_card(result, "Mean absolute error", name, value, delta, color, remark)]


def _bits(result: ExperimentResult, against: str) -> Card:
    """Cross-entropy of a language model; lower is better."""
    own, base = result.figures, result.baseline
    bits, other = own.bits_per_character or 0.0, base.bits_per_character
    delta = signed(bits - other, 3) if against and other is not None and own.n_samples == base.n_samples else ""
    remark = "Cross-entropy of the next character: how many bits it takes on average to tell it; lower is better."
    return _card(result, "Bits per character", "bits_per_character", f"{bits:.3f}", delta, "inverse", remark)


def _bytes(result: ExperimentResult, title: str, name: str, against: str) -> Card:
    own, base = getattr(result.figures, name), getattr(result.baseline, name)
    delta = change(own, base) if against else ""
    said = "Uncompressed" if against in ("", UNCOMPRESSED) else against
    remark = f"{said}: {format_bytes(base)}"
    return _card(result, title, name, format_bytes(own), _unless_same(delta), "inverse", remark)


def _latency(result: ExperimentResult, against: str) -> Card:
    own, delta, color = result.figures, "", "normal"
    if own.latency_ms_p50 is None:
        return Card("Latency", milliseconds(None), "", "off", "It has not been timed.", "preliminary", "not timed", "")
    remark = interval_ms(own)
    if against and own.speedup is not None:
        low, high = own.speedup_low or own.speedup, own.speedup_high or own.speedup
        remark += f"; speed-up {times(own.speedup, low, high)} over {against}"
        if low <= 1.0 <= high:
            delta, color = f"{own.speedup:.2f}x, a tie", "off"
        else:
            faster = own.speedup > 1
            color = "normal" if faster else "inverse"  # green or red, and never a factor with a minus
            delta = f"{own.speedup:.2f}x as fast" if faster else f"{1 / own.speedup:.2f}x slower"
    return _card(result, "Latency", "latency_ms_p50", milliseconds(own.latency_ms_p50), delta, color, remark)


def _is_none(delta: str) -> bool:
    """Whether a difference is zero in the digits that are shown: neither better nor worse."""
    number = delta.split(" ")[0].lstrip("+-")
    return number.replace(".", "").isdigit() and float(number) == 0


def _unless_same(delta: str) -> str:
    return "" if delta in ("0.0 %", "0 %") else delta


def _card(result: ExperimentResult, title: str, name: str, value: str, delta: str, color: str, remark: str) -> Card:
    badge = result.badges.get(name, "measured")
    note = result.badge_notes.get(name) or _BADGE_HELP[badge]
    coarse = badge == "preliminary" and name == "accuracy" and result.samples
    label = f"{badge}, {result.samples}" if coarse else badge
    color = "off" if _is_none(delta) else color
    return Card(title, value, delta, color, remark, badge, label, note)  # type: ignore[arg-type]


def show_cards(
    result: ExperimentResult, key: str = "cards", *, even: bool = True, against: str | None = None,
    same_data: bool = True,
) -> None:
    """Draw the cards in a container of that key, all of one height if wanted; they wrap on narrow screens."""
    with st.container(horizontal=True, gap="small", key=key):
        for card in cards_of(result, against, same_data=same_data):
            with st.container(border=True, height="stretch" if even else "content", gap=None):
                st.metric(
                    card.title, card.value, card.delta or None, delta_color=card.color, help=card.help,
                    delta_arrow="off" if card.color == "off" else "auto",
                )
                st.badge(
                    card.label, icon=_BADGE_ICONS[card.badge], color=BADGE_COLORS[card.badge], help=card.badge_note
                )
