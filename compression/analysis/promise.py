"""Whether a model is shown to keep a limit of accuracy, on samples that chose nothing.

A search that picks the best of many trials on some samples overstates them there. So the difference from the
uncompressed model is found on samples that neither calibration nor training nor the choice has seen: a fixed half of
the test split. The same samples go through both models. The upper end of the interval must lie below the limit
(Newcombe 1998, method 10; for texts a t-interval over windows, as tokens of one window are not independent).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from compression.core.intervals import mean_interval, paired_interval
from compression.experiments.pairing import Correct, Scores

_SEED = 31_337
_CONFIDENCE = "97.5 %"
_DISCORDANT = 0.01


def promise_rows(count: int) -> np.ndarray:
    """Indices of the fixed half of so many test samples on which promises are made, ascending."""
    order = np.random.default_rng(_SEED).permutation(count)
    return np.sort(order[: max(1, count // 2)])


def untouched_rows(count: int) -> np.ndarray:
    """Indices of the other test samples: no promise looks at them."""
    return np.setdiff1d(np.arange(count), promise_rows(count))


@dataclass(frozen=True)
class Promise:
    """What is shown of a limit of accuracy.

    Attributes:
        limit: Points that may be lost.
        drop: Points lost on the promise samples.
        drop_high: Upper end of the drop with 97.5 % confidence.
        n_samples: Predictions that both models made.
        of_samples: Test samples, of which a fixed half is used.
        needed: About how many predictions would show it if the drop stays what it is; None where it is shown, or where
            the limit is exceeded.
    """

    limit: float
    drop: float
    drop_high: float
    n_samples: int
    of_samples: int
    needed: int | None = None

    @property
    def kept(self) -> bool:
        """Whether the limit is shown to be kept."""
        return self.drop_high <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with what the numbers mean."""
        return {"kept": self.kept, **asdict(self), "confidence": _CONFIDENCE}

    @property
    def verdict(self) -> str:
        """Whether it is shown, with its numbers."""
        if self.kept:
            return (
                f"shown ({self.drop:.2f}, at most {self.drop_high:.2f} with {_CONFIDENCE} confidence, "
                f"n = {self.n_samples:,})"
            )
        if self.needed is None:
            return f"not shown: {self.drop:.2f} points lost, n = {self.n_samples:,}"
        return (
            f"not shown: n = {self.n_samples:,} cannot resolve {_points(self.limit)}; "
            f"about {self.needed:,} samples would"
        )

    @property
    def text(self) -> str:
        """The limit and its verdict in one line."""
        return f"keeps at most {_points(self.limit)}: {self.verdict}"


def _points(value: float) -> str:
    return f"{value:g} point{'' if value == 1 else 's'}"


def promise_from_dict(data: Mapping[str, Any]) -> Promise:
    """Inverse of `Promise.to_dict`.

    Raises:
        KeyError: if a number is missing.
        TypeError: if one is no number.
    """
    values = {f.name: data[f.name] for f in fields(Promise)}
    for name, value in values.items():
        missing = name == "needed" and value is None
        if isinstance(value, bool) or not (missing or isinstance(value, int | float)):
            raise TypeError(f"promise.{name}: {value!r}, a number is needed")
    return Promise(**values)


def promise_between(first: Scores | None, second: Scores | None, limit: float) -> Promise | None:
    """The promise for a second artifact against a first one; None while one is not scored on the whole test split.

    Args:
        first: The uncompressed model's scores.
        second: The artifact's scores.
        limit: Points that may be lost.
    """
    if first is None or second is None or first.whole is None or second.whole is None:
        return None
    if first.whole.samples != second.whole.samples:
        return None
    return promise_of(by_sample(first.whole), by_sample(second.whole), limit)


def by_sample(correct: Correct) -> np.ndarray:
    """Right predictions per test sample, (samples, predictions of one)."""
    count = int(correct.samples.rpartition("-")[2])
    return correct.right.reshape(count, -1)


def promise_of(first: np.ndarray, second: np.ndarray, limit: float) -> Promise:
    """The promise from right predictions on the whole test split.

    Args:
        first: Of the uncompressed model, booleans (samples, predictions of one sample).
        second: Of the artifact, the same shape.
        limit: Points that may be lost.
    """
    rows = promise_rows(len(first))
    return promise_from_samples(first[rows], second[rows], limit, len(first))


def promise_from_samples(one: np.ndarray, two: np.ndarray, limit: float, of_samples: int) -> Promise:
    """The promise from right predictions on the samples that make it.

    Args:
        one: Of the uncompressed model, booleans (samples, predictions of one sample).
        two: Of the artifact, the same shape.
        limit: Points that may be lost.
        of_samples: Test samples that these are part of.
    """
    if one.shape[1] == 1:
        counts = (np.array(float(own.sum())) for own in (one, two, one & two))
        value, low, _ = (float(end) for end in paired_interval(*counts, len(one)))
    else:
        differences = two.mean(1) - one.mean(1)
        value, low = float(differences.mean()), mean_interval(differences)[0]
    return _with_needed(limit, 0.0 - 100 * value, 0.0 - 100 * low, one.size, of_samples)


def _with_needed(limit: float, drop: float, high: float, n: int, of: int) -> Promise:
    needed = None
    if drop < limit < high:
        exact = n * ((high - drop) / (limit - drop)) ** 2  # the interval's width goes with the root of n
        unit = 10 ** max(0, math.floor(math.log10(exact)) - 1)
        needed = math.ceil(exact / unit) * unit
    return Promise(limit, drop, high, n, of, needed)


def too_few_samples(test_samples: int, limit: float) -> str:
    """A warning where so many test samples cannot show a limit even if nothing is lost; empty where they can.

    It takes one prediction in a hundred to differ, half of them for the better.
    """
    n = max(1, test_samples // 2)
    high = _resolved(n)
    if high <= limit:
        return ""
    promise = _with_needed(limit, 0.0, high, n, test_samples)
    return (
        f"{_points(limit)} cannot be shown with {n:,} samples (half of the test split), which resolve about "
        f"{high:.2g} points where nothing is lost; about {promise.needed:,} would show it."
    )


def _resolved(n: int) -> float:
    """Points of the upper end where nothing is lost and one in a hundred predictions differs."""
    right, both = np.array(0.9 * n), np.array((0.9 - _DISCORDANT / 2) * n)
    return -100 * float(paired_interval(right, right, both, n)[1])


def data_used(dataset: str, has_validation: bool, calibration: int, selection: int, test: int) -> dict[str, str]:
    """What data each step of a search uses; no sample is in two of them.

    Args:
        dataset: Name of the dataset.
        has_validation: Whether it has a validation split, by which trials are chosen then.
        calibration: Samples that techniques calibrate on.
        selection: Samples that choose among trials.
        test: Samples of the test split.
    """
    half, others = len(promise_rows(test)), "other samples of the training split"
    return {
        "dataset": dataset,
        "calibration": f"{calibration:,} samples of the training split",
        "choice": f"{selection:,} " + ("samples of the validation split" if has_validation else others),
        "promise": f"{half:,} of {test:,} test samples, a fixed half",
        "untouched": f"the other {test - half:,} test samples",
    }
