"""Which samples an artifact got right, and differences of accuracy between artifacts that saw the same samples."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from compression.core.intervals import paired_interval, wilson_interval

CORRECT = "correct"


@dataclass(frozen=True)
class AccuracyChange:
    """Difference of two accuracies on the same samples, as fractions.

    Attributes:
        value: The second minus the first.
        low: Lower end of its 95 % paired interval, see `compression.core.intervals.paired_interval`.
        high: Upper end.
        n_samples: Predictions that both made.
    """

    value: float
    low: float
    high: float
    n_samples: int

    @property
    def tied(self) -> bool:
        """Whether the change may be none at all."""
        return self.low <= 0.0 <= self.high


@dataclass(frozen=True, eq=False)
class Correct:
    """Which predictions of an artifact were right.

    Attributes:
        samples: Names the samples; artifacts with the same name saw the same.
        right: One boolean per prediction, (N,).
    """

    samples: str
    right: np.ndarray

    def score(self) -> tuple[float, float, float, int]:
        """Accuracy with its 95 % interval, and the number of predictions."""
        right, n = int(self.right.sum()), len(self.right)
        return right / n, *wilson_interval(right, n), n


@dataclass(frozen=True, eq=False)
class Scores:
    """What is stored of an artifact's predictions.

    Attributes:
        whole: On all samples; None while only a first, coarse score is there.
        coarse: On the samples of that first score; a part of all.
    """

    whole: Correct | None
    coarse: Correct


def pack(right: np.ndarray) -> str:
    """Booleans as text, eight to a byte."""
    return base64.b64encode(np.packbits(right.reshape(-1)).tobytes()).decode()


def unpack(text: str, n: int) -> np.ndarray:
    """Inverse of `pack`, (n,)."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=n).astype(bool)


def scores_to_dict(scores: Scores) -> dict[str, Any]:
    """Plain data for JSON."""
    return {
        name: None if own is None else {"samples": own.samples, "n": len(own.right), "right": pack(own.right)}
        for name, own in (("whole", scores.whole), ("coarse", scores.coarse))
    }


def scores_from_dict(data: Mapping[str, Any]) -> Scores:
    """Inverse of `scores_to_dict`."""
    whole, coarse = (
        None if own is None else Correct(own["samples"], unpack(own["right"], own["n"]))
        for own in (data["whole"], data["coarse"])
    )
    assert coarse is not None
    return Scores(whole, coarse)


def common(first: Scores | None, second: Scores | None) -> tuple[Correct, Correct] | None:
    """Both artifacts' predictions on the most samples that both saw; None where there are none."""
    if first is None or second is None:
        return None
    for one, two in ((first.whole, second.whole), (first.coarse, second.coarse)):
        if one is not None and two is not None and one.samples == two.samples:
            return one, two
    return None


def accuracy_change(first: Scores | None, second: Scores | None) -> AccuracyChange | None:
    """How much more accurate the second is than the first, on the same samples; None where there are none."""
    found = common(first, second)
    return None if found is None else change_of(found[0].right, found[1].right)


def change_of(first: np.ndarray, second: np.ndarray) -> AccuracyChange:
    """The same from booleans, (N,) each."""
    value, low, high = paired_interval(
        np.array(first.sum()), np.array(second.sum()), np.array((first & second).sum()), len(first)
    )
    return AccuracyChange(float(value), float(low), float(high), len(first))


@dataclass(frozen=True, eq=False)
class Differences:
    """Differences of one objective between all pairs of points: row minus column, NaN where they are not known.

    Attributes:
        value: (N, N).
        low: Lower ends of their 95 % intervals.
        high: Upper ends.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def negated(self) -> "Differences":
        """The same of the objective turned round."""
        return Differences(-self.value, -self.high, -self.low)


@lru_cache(maxsize=8)
def accuracy_differences(scores: tuple[Scores | None, ...]) -> Differences:
    """Differences of accuracy between all pairs of artifacts; see `accuracy_change`. Kept for the next drawing."""
    count = len(scores)
    found = Differences(*(np.full((count, count), np.nan) for _ in range(3)))
    for whole in (False, True):  # where both have all samples, these take the place of the few
        groups: dict[str, list[int]] = {}
        for place, own in enumerate(scores):
            correct = None if own is None else own.whole if whole else own.coarse
            if correct is not None:
                groups.setdefault(correct.samples, []).append(place)
        for places in groups.values():
            chosen = [own.whole if whole else own.coarse for own in (scores[i] for i in places) if own is not None]
            _fill(found, places, np.array([own.right for own in chosen if own is not None], dtype=np.float32))
    return found


def _fill(found: Differences, places: Sequence[int], right: np.ndarray) -> None:
    """Set the pairs of some artifacts, whose right predictions are (K, N), on the same samples."""
    both = right @ right.T
    totals = np.diagonal(both).astype(np.float64)
    one, two = np.broadcast_arrays(totals[None, :], totals[:, None])
    parts = paired_interval(one, two, both.astype(np.float64), right.shape[1])
    for own, values in zip((found.value, found.low, found.high), parts, strict=True):
        own[np.ix_(places, places)] = values
