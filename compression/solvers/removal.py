"""Removal of whole units (channels, neurons, heads), one after the other, each made up for by those that stay."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_ONE_BY_ONE = 128


@dataclass(frozen=True)
class RemovalOrder:
    """In which order units go, and what that costs.

    Attributes:
        order: Unit numbers, the first to go first; the last unit is not in it.
        errors: Output error after each of them relative to the output's energy, as long as `order`.
    """

    order: tuple[int, ...]
    errors: tuple[float, ...]


def removal_order(weights: Sequence[Tensor], hessians: Sequence[Tensor], units: int) -> RemovalOrder:
    """Greedy optimal brain surgery on units (ZipLM, Kurtic et al., arXiv 2302.04089).

    The next unit S is the one of least ``tr(W_S (H^-1_SS)^-1 W_S^T)``; then ``W -= W_S (H^-1_SS)^-1 H^-1_S`` and
    ``H^-1 -= H^-1_S^T (H^-1_SS)^-1 H^-1_S``. Several readers of the same units are summed up. Beyond 128 units
    several go at a time.

    Args:
        weights: Of each layer that reads the units, (C_out, K); a unit's inputs are neighbours.
        hessians: Damped, float64 (K, K), one per layer.
        units: Number of units.
    """
    readers = [_Reader(weight.double(), hessian, units) for weight, hessian in zip(weights, hessians, strict=True)]
    energy = max(sum(reader.energy for reader in readers), 1e-30)
    gone = torch.zeros(units, dtype=torch.bool)
    order: list[int] = []
    errors: list[float] = []
    spent, chunk = 0.0, -(-units // _ONE_BY_ONE)
    while len(order) < units - 1:
        costs = sum(reader.costs(gone) for reader in readers)
        assert isinstance(costs, Tensor)
        count = min(chunk, units - 1 - len(order))
        for unit in torch.topk(costs, count, largest=False).indices.tolist():
            spent += sum(reader.remove(unit) for reader in readers)
            gone[unit] = True
            order.append(unit)
            errors.append(spent / energy)
    return RemovalOrder(tuple(order), tuple(errors))


class _Reader:
    """One layer's weights and inverse Hessian as units go."""

    def __init__(self, weight: Tensor, hessian: Tensor, units: int) -> None:
        self.size = weight.shape[1] // units
        self.units = units
        self.energy = float(((weight @ hessian) * weight).sum())
        self.weight = weight.clone()
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))

    def costs(self, gone: Tensor) -> Tensor:
        """Error that each unit's removal would add now; infinite for those that are gone."""
        rows = torch.arange(self.units)
        blocks = self.inverse.view(self.units, self.size, self.units, self.size)[rows, :, rows]
        blocks = torch.where(gone[:, None, None], torch.eye(self.size, dtype=torch.float64), blocks)
        parts = self.weight.view(-1, self.units, self.size).permute(1, 2, 0)
        found = (parts * torch.linalg.solve(blocks, parts)).sum((1, 2))
        return found.masked_fill(gone, torch.inf)

    def remove(self, unit: int) -> float:
        """Take a unit out, let the others make up for it, and return the error that this added."""
        own = slice(unit * self.size, (unit + 1) * self.size)
        row = self.inverse[own].clone()
        solved = torch.linalg.solve(row[:, own], row)
        part = self.weight[:, own].clone()
        error = float((part * torch.linalg.solve(row[:, own], part.t()).t()).sum())
        self.weight -= part @ solved
        self.inverse -= row.t() @ solved
        self.weight[:, own] = 0.0
        return error
