"""Intervals of 95 %: of a proportion, a mean, and of a statistic by resampling."""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
_RESAMPLES, _CHUNK, _CELLS = 2000, 100, 20_000_000


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """95 % Wilson score interval of a proportion (Wilson 1927).

    Raises:
        ValueError: if n is not positive.
    """
    if n <= 0:
        raise ValueError("an interval needs at least one sample")
    share = correct / n
    denominator = 1 + Z**2 / n
    center = (share + Z**2 / (2 * n)) / denominator
    half = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / denominator
    return max(0.0, min(share, center - half)), min(1.0, max(share, center + half))


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean by Student's t; of one value that value."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, mean
    half = float(stats.t.ppf(0.975, len(values) - 1)) * float(values.std(ddof=1)) / math.sqrt(len(values))
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
