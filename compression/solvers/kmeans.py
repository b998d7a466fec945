"""Codebooks of one dimension: weighted k-means on sorted values."""

import numpy as np
import torch
from torch import Tensor

_ITERATIONS = 60
_EXACT_POINTS = 256
_EXACT_CLUSTERS = 16


def weighted_kmeans(values: Tensor, weights: Tensor, clusters: int, zero: bool = False) -> Tensor:
    """Entries that minimise the weighted squared distance of each value to its nearest entry.

    Up to 16 clusters start from the optimum over at most 256 groups of neighbouring values, which is the optimum
    itself where there are no more values than that (dynamic programming, Wang and Song 2011); Lloyd's algorithm
    (1982) refines. More clusters start evenly over the density.

    Args:
        values: (n,).
        weights: (n,), not negative.
        clusters: Number of entries.
        zero: Whether one entry is exactly zero.

    Returns:
        Ascending entries, float64, at most `clusters` of them (fewer distinct values give fewer).
    """
    order = torch.argsort(values)
    ordered, mass = values[order].double(), weights[order].double().clamp(min=0)
    mass = mass + mass.mean().clamp(min=1e-30) * 1e-6
    total = np.concatenate([[0.0], mass.cumsum(0).numpy()])
    moment = np.concatenate([[0.0], (mass * ordered).cumsum(0).numpy()])
    if clusters <= _EXACT_CLUSTERS:
        entries = _best_start(ordered, total, moment, clusters)
    else:
        entries = _even_start(ordered, clusters).numpy()
    return torch.from_numpy(np.unique(_refined(entries, ordered.numpy(), total, moment, zero)))


def _refined(
    entries: np.ndarray, ordered: np.ndarray, total: np.ndarray, moment: np.ndarray, zero: bool
) -> np.ndarray:
    """Lloyd's iterations; in NumPy, whose cost per call is smaller, as the arrays are."""
    for _ in range(_ITERATIONS):
        if zero:
            entries[np.abs(entries).argmin()] = 0.0
        borders = ordered.searchsorted((entries[1:] + entries[:-1]) / 2)
        edges = np.concatenate([[0], borders, [len(ordered)]])
        inside, sums = np.diff(total[edges]), np.diff(moment[edges])
        moved = np.where(inside > 0, sums / np.maximum(inside, 1e-300), entries)
        if np.array_equal(moved, entries):
            break
        entries = np.sort(moved)
    if zero:
        entries[np.abs(entries).argmin()] = 0.0
    return entries


def _best_start(ordered: Tensor, total: np.ndarray, moment: np.ndarray, clusters: int) -> np.ndarray:
    """Means of the best division into intervals, found over groups of neighbouring values."""
    if len(ordered) <= _EXACT_POINTS:
        borders = torch.arange(len(ordered) + 1)
    else:
        inner = torch.searchsorted(ordered, _even_start(ordered, _EXACT_POINTS - 1)).unique()
        borders = torch.cat([torch.zeros(1, dtype=torch.long), inner, torch.tensor([len(ordered)])]).unique()
    mass, sums = total[borders.numpy()], moment[borders.numpy()]
    inside = mass[None, :] - mass[:, None]
    gain = np.where(inside > 0, (sums[None, :] - sums[:, None]) ** 2 / np.where(inside > 0, inside, 1.0), -np.inf)
    edges = _best_division(gain, min(clusters, len(borders) - 1))
    return (sums[edges[1:]] - sums[edges[:-1]]) / (mass[edges[1:]] - mass[edges[:-1]])


def _best_division(gain: np.ndarray, parts: int) -> np.ndarray:
    """Edges of the division of 0..n into so many intervals whose gains, ``gain[start, end]``, sum up to the most."""
    best, choices = gain[0], []
    for _ in range(parts - 1):
        sums = best[:, None] + gain
        choices.append(sums.argmax(0))
        best = sums.max(0)
    edges = [len(gain) - 1]
    for choice in reversed(choices):
        edges.append(int(choice[edges[-1]]))
    return np.array([0, *reversed(edges)])


def _even_start(ordered: Tensor, clusters: int) -> Tensor:
    """Entries at even steps of the cube root of density, which is near the optimum for many clusters."""
    low, high = ordered[0], ordered[-1]
    bins = torch.histc(ordered.float(), 256, float(low), float(high)).double()
    steps = torch.cat([torch.zeros(1, dtype=torch.float64), bins.pow(1 / 3).cumsum(0)])
    grid = torch.linspace(float(low), float(high), 257, dtype=torch.float64)
    wanted = (torch.arange(clusters, dtype=torch.float64) + 0.5) / clusters * steps[-1]
    index = torch.searchsorted(steps, wanted).clamp(1, 256)
    width = (steps[index] - steps[index - 1]).clamp(min=1e-30)
    part = (wanted - steps[index - 1]) / width
    return grid[index - 1] + part * (grid[index] - grid[index - 1])
