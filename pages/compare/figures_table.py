"""Figures of several variants side by side: a row per figure, a column per variant, changes against a reference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from compression.experiments.pairing import Scores
from compression.service import ExperimentResult
from pages.shared.cards import Card, cards_of
from pages.shared.comparison import against, dataset_name
from pages.shared.formats import interval_ms, interval_percent, recipe_label

UNCOMPRESSED = "the uncompressed model"


@dataclass(frozen=True)
class Reference:
    """What variants are held against.

    Attributes:
        name: "the uncompressed model" or a variant's letter.
        result: Its result; None for an uncompressed model that no run here shows, whose figures each variant has.
    """

    name: str
    result: ExperimentResult | None


def change_text(card: Card) -> str:
    """A change in a word and a colour, so that it is read without the colour; empty where nothing is to say.

    Returns:
        Markdown of Streamlit, whose colours are those of the theme.
    """
    if not card.delta:
        return ""
    if card.color == "off":
        return f":gray[{card.delta}]"
    more = not card.delta.startswith("-")
    better = more if card.color == "normal" else not more
    return f":green[{card.delta}, better]" if better else f":red[{card.delta}, worse]"


def figures_table(
    variants: Mapping[str, ExperimentResult], reference: Reference, scores: Mapping[str, Scores] | None = None
) -> pd.DataFrame:
    """The table; its cells are Markdown.

    Args:
        variants: Results by their letters.
        reference: What they are held against. An uncompressed model that is none of them has a column before theirs.
        scores: Which predictions were right, by key: accuracies are then compared sample by sample.
    """
    columns: dict[str, dict[str, str]] = {}
    base = reference.result
    if reference.name == UNCOMPRESSED and base is not None and all(own.key != base.key for own in variants.values()):
        columns["Uncompressed"] = _column(base, cards_of(base), "reference")
    for letter, own in variants.items():
        if own is base or (base is not None and own.key == base.key):
            columns[letter] = _column(own, cards_of(own, ""), "reference")
        elif reference.name == UNCOMPRESSED:
            columns[letter] = _column(own, cards_of(own))
        else:
            assert base is not None
            same = dataset_name(own) == dataset_name(base)
            note = "" if same else "scored on other data than the reference: accuracies cannot be compared"
            compared = against(own, base, scores)
            columns[letter] = _column(own, cards_of(compared, reference.name, same_data=same), note)
    rows = list(dict.fromkeys(name for column in columns.values() for name in column))
    return pd.DataFrame({name: [column.get(row, "") for row in rows] for name, column in columns.items()}, index=rows)


def _column(result: ExperimentResult, cards: Sequence[Card], note: str = "") -> dict[str, str]:
    column = {
        "Model": _plain(result.model_name), "Recipe": _plain(recipe_label(result.recipe)),
        "Scored on": _plain(dataset_name(result)), **({"Note": note} if note else {}),
    }
    for card in cards:
        badge = "" if card.badge == "measured" else f" ({card.label})"
        column[card.title] = "  \n".join(part for part in (f"**{card.value}**{badge}", change_text(card)) if part)
        if card is cards[0]:
            column[f"{card.title}, spread"] = interval_percent(result.figures)
        elif card.title == "Latency":
            column[f"{card.title}, spread"] = interval_ms(result.figures)
    return column


def _plain(text: str) -> str:
    for sign in "\\`*_[]$<>#":
        text = text.replace(sign, "\\" + sign)
    return text
