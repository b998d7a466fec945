"""Intervals of 95 %: of proportions and their paired differences, means, medians of blocks, resampled statistics."""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import stdtrit

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
_RESAMPLES, _CHUNK, _CELLS = 2000, 100, 20_000_000
_BLOCK_RESAMPLES, _RESOLUTION = 1000, 1e-4


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion (Wilson 1927).

    Raises:
        ValueError: if n is not positive.
    """
    if n <= 0:
        raise ValueError("an interval needs at least one sample")
    low, high = _wilson(np.float64(correct / n), n)
    return float(low), float(high)


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean by Student's t; of one value that value."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, mean
    half = float(stdtrit(len(values) - 1, 0.975)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return mean - half, mean + half


def bootstrap_interval(
    columns: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int = 0, resamples: int = _RESAMPLES
) -> tuple[float, float] | None:
    """95 % percentile interval of a statistic of column means, over resampled rows (Efron 1979).

    Args:
        columns: (samples, columns), float64.
        statistic: (resamples, columns) of means to (resamples,); not finite where it is not defined.
        seed: Of the resampling.
        resamples: How many.

    Returns:
        None where too few resamples define the statistic.
    """
    generator, n = np.random.default_rng(seed), len(columns)
    chunk, found = max(1, min(_CHUNK, _CELLS // max(1, n))), []
    for start in range(0, resamples, chunk):
        counts = generator.multinomial(n, np.full(n, 1 / n), size=min(chunk, resamples - start))
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(statistic(counts @ columns / n))
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    if len(values) < resamples / 2:
        return None
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _wilson(share: np.ndarray | np.float64, n: int) -> tuple[np.ndarray, np.ndarray]:
    denominator = 1 + Z**2 / n
    center = (share + Z**2 / (2 * n)) / denominator
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / denominator
    return np.maximum(0.0, np.minimum(share, center - half)), np.minimum(1.0, np.maximum(share, center + half))


def paired_interval(
    first: np.ndarray, second: np.ndarray, both: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Difference of two proportions of the same samples with its 95 % interval.

    The paired score interval (Newcombe 1998, "Improved confidence intervals for the difference between binomial
    proportions based on paired data", method 10).

    Args:
        first: Number of samples that the first got right; any shape.
        second: Number that the second got right.
        both: Number that both got right.
        n: Samples.

    Returns:
        Second minus first, and the ends of its interval, as fractions; of the arguments' common shape.
    """
    a, b, c = both, first - both, second - both
    d = n - a - b - c
    one, two = first / n, second / n
    (low_one, high_one), (low_two, high_two) = _wilson(one, n), _wilson(two, n)
    spread = np.sqrt(np.maximum((a + b) * 1.0 * (c + d) * (a + c) * (b + d), 0.0))
    excess = a * 1.0 * d - b * 1.0 * c
    excess = np.where(excess > n / 2, excess - n / 2, np.where(excess >= 0, 0.0, excess))
    phi = np.divide(excess, spread, out=np.zeros_like(spread), where=spread > 0)

    def side(near: np.ndarray, far: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(near**2 - 2 * phi * near * far + far**2, 0.0))

    difference = two - one
    below = side(two - low_two, high_one - one)
    above = side(high_two - two, one - low_one)
    return difference, difference - below, difference + above


def median_interval(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Median of a few independent values with its 95 % interval.

    The standard error is that of a smoothed bootstrap (Efron and Tibshirani 1993, section 16.5), whose noise keeps a
    median of few values from taking few values only; the interval is symmetric around the median, by Student's t of
    as many degrees of freedom as there are values but one. It never has no width: a clock ticks.

    Args:
        values: Of at least two blocks, on the scale on which errors are additive (logarithms of times).
        seed: Of the bootstrap.
    """
    n = len(values)
    center = float(np.median(values))
    rng = np.random.default_rng(seed)
    draws = values[rng.integers(0, n, (_BLOCK_RESAMPLES, n))]
    draws = draws + np.std(values) / math.sqrt(n) * rng.standard_normal(draws.shape)
    half = float(stdtrit(max(n - 1, 1), 0.975)) * max(float(np.std(np.median(draws, axis=1))), _RESOLUTION)
    return center, center - half, center + half
