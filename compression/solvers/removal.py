"""Removal of whole units (channels, neurons, heads), one after the other, each made up for by those that stay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compression.solvers.blocked import cholesky, cholesky_inverse, unwatched

_ONE_BY_ONE = 128
_FACTORING = 0.3


@dataclass(frozen=True)
class RemovalOrder:
    """In which order units go, and what that costs.

    Attributes:
        order: Unit numbers, the first to go first; the last unit is not in it.
        errors: Output error after each of them relative to the output's energy, as long as `order`.
    """

    order: tuple[int, ...]
    errors: tuple[float, ...]


def removal_order(
    weights: Sequence[Tensor], hessians: Sequence[Tensor], units: int, watch: Callable[[float], None] = unwatched
) -> RemovalOrder:
    """Greedy optimal brain surgery on units (ZipLM, Kurtic et al., arXiv 2302.04089).

    The next unit S is the one of least ``tr(W_S (H^-1_SS)^-1 W_S^T)``; then ``W -= W_S (H^-1_SS)^-1 H^-1_S`` and
    ``H^-1 -= H^-1_S^T (H^-1_SS)^-1 H^-1_S``. Several readers of the same units are summed up. Beyond 128 units
    several go at a time.

    Args:
        weights: Of each layer that reads the units, (C_out, K); a unit's inputs are neighbours.
        hessians: Damped, float64 (K, K), one per layer.
        units: Number of units.
        watch: Called with the fraction done after each few units; may raise to stop.
    """
    readers = []
    for number, (weight, hessian) in enumerate(zip(weights, hessians, strict=True)):
        readers.append(_Reader(weight, hessian, units, _part(watch, number, len(weights))))
    energy = max(sum(reader.energy for reader in readers), 1e-30)
    gone = torch.zeros(units, dtype=torch.bool)
    order: list[int] = []
    errors: list[float] = []
    spent, chunk = 0.0, -(-units // _ONE_BY_ONE)
    while len(order) < units - 1:
        costs = sum(reader.costs(gone) for reader in readers)
        assert isinstance(costs, Tensor)
        count = min(chunk, units - 1 - len(order))
        chosen = torch.topk(costs, count, largest=False).indices
        for added in sum(reader.remove(chosen) for reader in readers).tolist():
            spent += added
            errors.append(spent / energy)
        gone[chosen] = True
        order += chosen.tolist()
        watch(_FACTORING + (1 - _FACTORING) * len(order) / units)
    return RemovalOrder(tuple(order), tuple(errors))


def _part(watch: Callable[[float], None], number: int, count: int) -> Callable[[float], None]:
    """The watch of one of so many factorizations."""
    return lambda fraction: watch(_FACTORING * (number + fraction) / count)


class _Reader:
    """One layer's weights and inverse Hessian as units go.

    The inverse is not written again with every removal, which takes its whole memory through the processor: the rows
    of ``A`` that were taken from it, ``H^-1 - A^T A``, are kept, and rows are computed when their unit goes.
    """

    def __init__(self, weight: Tensor, hessian: Tensor, units: int, watch: Callable[[float], None]) -> None:
        self.units, self.size = units, weight.shape[1] // units
        self.weight = weight.double().t().clone(memory_format=torch.contiguous_format)  # (K, C_out)
        self.energy = float(((hessian @ self.weight) * self.weight).sum())
        factor = cholesky(hessian, lambda fraction: watch(0.3 * fraction))
        self.inverse = cholesky_inverse(factor, lambda fraction: watch(0.3 + 0.7 * fraction))
        rows = torch.arange(units)
        self.blocks = self.inverse.view(units, self.size, units, self.size)[rows, :, rows]
        self.taken = torch.empty_like(self.inverse)
        self.count = 0

    def costs(self, gone: Tensor) -> Tensor:
        """Error that each unit's removal would add now; infinite for those that are gone."""
        blocks = torch.where(gone[:, None, None], torch.eye(self.size, dtype=torch.float64), self.blocks)
        parts = self.weight.view(self.units, self.size, -1)
        found = torch.linalg.solve(blocks, parts @ parts.mT).diagonal(dim1=1, dim2=2).sum(1)
        return found.masked_fill(gone, torch.inf)

    def remove(self, chosen: Tensor) -> Tensor:
        """Take units out one after the other, let the others make up for them, and return the error each adds."""
        inputs = (chosen[:, None] * self.size + torch.arange(self.size)).flatten()
        before = self.taken[: self.count]
        rows = torch.addmm(self.inverse[inputs], before[:, inputs].t(), before, alpha=-1)
        factor = torch.linalg.cholesky(rows[:, inputs])
        solved = torch.linalg.solve_triangular(factor, rows, upper=False)
        part = torch.linalg.solve_triangular(factor, self.weight[inputs], upper=False)
        self.taken[self.count : self.count + len(inputs)] = solved
        self.count += len(inputs)
        self.weight.addmm_(solved.t(), part, alpha=-1)
        self.weight[inputs] = 0.0
        columns = solved.view(-1, self.units, self.size).permute(1, 2, 0)
        self.blocks -= columns @ columns.mT
        return part.square().sum(1).view(-1, self.size).sum(1)
