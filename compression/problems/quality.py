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
        return self.label_of(self.title)

    def label_of(self, name: str) -> str:
        """A name with this quality's unit for an axis: "Validation accuracy (%)"."""
        return f"{name} ({self.unit})" if self.unit else name

    def shown(self, value: float) -> float:
        """A stored number in the shown unit."""
        return self.scale * value

    def text(self, value: float, digits: int | None = None) -> str:
        """A stored number with its unit: "98.7 %", "0.912"."""
        decimals = self.digits if digits is None else digits
        return f"{self.shown(value):.{decimals}f} {self.unit}".strip()

    def ends(self, low: float, high: float) -> str:
        """An interval in the shown unit, with a digit more and without the unit: "97.61 to 98.90"."""
        return f"{self.shown(low):.{self.digits + 1}f} to {self.shown(high):.{self.digits + 1}f}"

    def difference(self, value: float) -> str:
        """A difference of stored numbers with sign and unit, never "-0": "-1.2 points", "-0.012 R2"."""
        number = f"{abs(self.shown(value)):.{self.digits}f}"
        sign = "" if float(number) == 0 else ("+" if value > 0 else "-")
        return f"{sign}{number} {self.difference_unit}".strip()

    @property
    def lost_heading(self) -> str:
        """A loss as a table's column: "points lost", "R2 lost"."""
        return f"{self.difference_unit} lost"

    def lost(self, hundredths: float) -> float:
        """A loss in hundredths, as limits and estimates hold it, in the shown unit."""
        return self.shown(hundredths / 100)

    def lost_text(self, hundredths: float) -> str:
        """The same in words: "1 point lost", "0.01 R2 lost"."""
        unit = self.difference_unit.removesuffix("s") if hundredths == 1 else self.difference_unit
        return f"{self.lost(hundredths):.3g} {unit} lost"


ACCURACY = Quality(
    "accuracy", "Accuracy", "%", 100.0, 1, "points", "Wilson interval", "paired score interval (Newcombe 1998)"
)
R2 = Quality("r2", "R2", "", 1.0, 3, "R2", "bootstrap interval over the samples", "bootstrap interval over them")
QUALITIES = {quality.key: quality for quality in (ACCURACY, R2)}


def quality(key: str) -> Quality:
    """The quality of a stored figure; accuracy where a record names none."""
    return QUALITIES.get(key, ACCURACY)
