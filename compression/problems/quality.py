"""The figure by which models of one task are compared: accuracy, or R2 of a regression. More is better."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Quality:
    """How the quality of a model is named and shown.

    Attributes:
        key: Name in JSON, tables and addresses.
        title: Name for people.
        unit: Unit of the shown numbers; empty where there is none.
        scale: Shown number per stored one.
        digits: Decimals of a shown number.
        difference_unit: Unit of a difference.
        interval: Kind of its 95 % interval.
        paired_interval: Kind of that of a difference on the same samples.
        most: Largest value there is, stored.
    """

    key: str
    title: str
    unit: str
    scale: float
    digits: int
    difference_unit: str
    interval: str
    paired_interval: str
    most: float = 1.0

    @property
    def word(self) -> str:
        """Title within a sentence: "accuracy", "R2"."""
        return self.title if self.title.isupper() else self.title.lower()

    @property
    def heading(self) -> str:
        """Title and unit of a table's column: "accuracy %", "R2"."""
        return f"{self.word} {self.unit}".strip()

    @property
    def label(self) -> str:
        """Title and unit for an axis: "Accuracy (%)"."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def shown(self, value: float) -> float:
        """A stored number in the shown unit."""
        return self.scale * value

    def text(self, value: float, digits: int | None = None) -> str:
        """A stored number with its unit: "98.7 %", "0.912"."""
        decimals = self.digits if digits is None else digits
        return f"{self.shown(value):.{decimals}f} {self.unit}".strip()

    def difference(self, value: float) -> str:
        """A difference of stored numbers with sign and unit, never "-0": "-1.2 points", "-0.012 R2"."""
        number = f"{abs(self.shown(value)):.{self.digits}f}"
        sign = "" if float(number) == 0 else ("+" if value > 0 else "-")
        return f"{sign}{number} {self.difference_unit}".strip()


ACCURACY = Quality(
    "accuracy", "Accuracy", "%", 100.0, 1, "points", "Wilson interval", "paired score interval (Newcombe 1998)"
)
R2 = Quality("r2", "R2", "", 1.0, 3, "R2", "bootstrap interval over the samples", "bootstrap interval over them")
QUALITIES = {quality.key: quality for quality in (ACCURACY, R2)}


def quality(key: str) -> Quality:
    """The quality of a stored figure; accuracy where a record names none."""
    return QUALITIES.get(key, ACCURACY)
