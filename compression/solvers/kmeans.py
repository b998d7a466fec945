"""Codebooks of one dimension: weighted k-means on sorted values."""

import torch
from torch import Tensor

_ITERATIONS = 60


def weighted_kmeans(values: Tensor, weights: Tensor, clusters: int, zero: bool = False) -> Tensor:
    """Entries that minimise the weighted squared distance of each value to its nearest entry (Lloyd 1982).

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
    total = torch.cat([torch.zeros(1, dtype=torch.float64), mass.cumsum(0)])
    moment = torch.cat([torch.zeros(1, dtype=torch.float64), (mass * ordered).cumsum(0)])
    entries = _start(ordered, mass, clusters)
    for _ in range(_ITERATIONS):
        if zero:
            entries[entries.abs().argmin()] = 0.0
        borders = torch.searchsorted(ordered, (entries[1:] + entries[:-1]) / 2)
        edges = torch.cat([torch.zeros(1, dtype=torch.long), borders, torch.tensor([len(ordered)])])
        inside = total[edges[1:]] - total[edges[:-1]]
        sums = moment[edges[1:]] - moment[edges[:-1]]
        moved = torch.where(inside > 0, sums / inside.clamp(min=1e-300), entries)
        if torch.equal(moved, entries):
            break
        entries = moved.sort().values
    if zero:
        entries[entries.abs().argmin()] = 0.0
    return entries.unique()


def _start(ordered: Tensor, mass: Tensor, clusters: int) -> Tensor:
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
