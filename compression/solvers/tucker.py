"""Tucker-2 decomposition of convolutions (Kim et al., arXiv 1511.06530) with little error at the layer's output.

A kernel (C_out, C_in, k, k) becomes ``last x core x first``: only its two channel modes are compressed. The input
subspace is that of the kernel whitened by a Kronecker approximation of the Hessian, ``H = (S_c S_c^T) x (S_k S_k^T)``;
for a given one, core and output subspace solve the reduced-rank regression under the Hessian itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_ITERATIONS = 4
_WIDE = 2304
_TINY = 1e-12


@dataclass(frozen=True)
class Tucker2:
    """A kernel on nested input subspaces: for an input rank r, the first r rows of `first`.

    Attributes:
        first: (n, C_in) float64.
        outputs: (C_out, n K) float64, the kernel on orthonormal inputs, K per row of `first`.
        lower: Lower factor (n K, n K) that makes the inputs orthonormal, or None where they are.
    """

    first: Tensor
    outputs: Tensor
    lower: Tensor | None

    def energies(self, rank_in: int) -> Tensor:
        """Squared output that is kept with `rank_in` inputs and 1, 2, ... C_out outputs, (C_out,)."""
        held = self._held(rank_in)
        return torch.linalg.eigvalsh(held @ held.t()).flip(0).clamp(min=0).cumsum(0)

    def factors(self, rank_in: int, rank_out: int) -> tuple[Tensor, Tensor, Tensor]:
        """``first`` (rank_in, C_in), ``core`` (rank_out, rank_in, K) and ``last`` (C_out, rank_out), float32."""
        held = self._held(rank_in)
        values, vectors = (part.flip(-1)[..., :rank_out] for part in torch.linalg.eigh(held @ held.t()))
        core = vectors.t() @ held
        if self.lower is not None:
            lower = self.lower[: core.shape[1], : core.shape[1]]
            core = torch.linalg.solve_triangular(lower, core, upper=False, left=False)
        root = values.clamp(min=max(_TINY * float(values[0]), _TINY**2)).pow(0.25)
        core = (core / root[:, None]).unflatten(1, (rank_in, -1))
        return self.first[:rank_in].float(), core.float(), (vectors * root).float()

    def _held(self, rank_in: int) -> Tensor:
        return self.outputs[:, : rank_in * (self.outputs.shape[1] // len(self.first))]


def hooi(tensor: Tensor, rank_out: int, rank_in: int, iterations: int = _ITERATIONS) -> tuple[Tensor, Tensor]:
    """Subspaces of the first two modes: truncated HOSVD, then higher-order orthogonal iteration.

    No iteration increases the error (De Lathauwer et al. 2000); none at all gives the truncated HOSVD.

    Args:
        tensor: (C_out, C_in, K).
        rank_out: At most C_out.
        rank_in: At most C_in.
        iterations: How often both subspaces are improved.

    Returns:
        Orthonormal columns (C_out, rank_out) and (C_in, rank_in).
    """
    outer, inner = _leading(tensor, 0)[:, :rank_out], _leading(tensor, 1)[:, :rank_in]
    for _ in range(iterations):
        outer = _leading(torch.einsum("ock,cr->ork", tensor, inner), 0)[:, :rank_out]
        inner = _leading(torch.einsum("ock,or->rck", tensor, outer), 1)[:, :rank_in]
    return outer, inner


def _leading(tensor: Tensor, mode: int) -> Tensor:
    """Left singular vectors of an unfolding as columns, by descending singular value."""
    rows = tensor.movedim(mode, 0).flatten(1)
    return torch.linalg.eigh(rows @ rows.t())[1].flip(1)


def tucker2(weight: Tensor, hessian: Tensor | None) -> Tucker2:
    """Decomposition for all ranks at once, on the input subspaces of the HOSVD.

    Args:
        weight: (C_out, C_in, K).
        hessian: (C_in K, C_in K), damped, float64, or None for the error of the weights themselves.
    """
    whitened, channels = _whitened(weight.double(), hessian)
    return _regressed(weight.double(), hessian, _unwhitened(_leading(whitened, 1), channels))


def tucker2_factors(
    weight: Tensor, hessian: Tensor | None, rank_in: int, rank_out: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Factors for one pair of ranks, as `Tucker2.factors`, on the input subspace of HOSVD or HOOI, whichever is better.

    With more than 2,304 inputs per output HOOI is left out: its gain is small and its time grows with their square.

    Args:
        weight: (C_out, C_in, K).
        hessian: As for `tucker2`.
        rank_in: At most C_in.
        rank_out: At most C_out.
    """
    whitened, channels = _whitened(weight.double(), hessian)
    found = []
    for iterations in (0, _ITERATIONS) if weight[0].numel() <= _WIDE else (0,):
        inner = hooi(whitened, rank_out, rank_in, iterations)[1]
        found.append(_regressed(weight.double(), hessian, _unwhitened(inner, channels)))
    best = max(found, key=lambda tucker: float(tucker.energies(rank_in)[rank_out - 1]))
    return best.factors(rank_in, rank_out)


def _whitened(weight: Tensor, hessian: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The kernel times both factors of the Hessian's Kronecker approximation, and the factor over channels."""
    if hessian is None:
        return weight, None
    _, channels, kernel = weight.shape
    blocks = hessian.reshape(channels, kernel, channels, kernel)
    over_channels = torch.linalg.cholesky(torch.einsum("ckdk->cd", blocks))
    over_kernel = torch.linalg.cholesky(torch.einsum("ckcl->kl", blocks))
    return torch.einsum("ock,cd,kl->odl", weight, over_channels, over_kernel), over_channels


def _unwhitened(inner: Tensor, channels: Tensor | None) -> Tensor:
    """Rows of the first factor: they turn inputs into the coordinates of a subspace of the whitened ones."""
    rows = inner.t()
    return rows if channels is None else torch.linalg.solve_triangular(channels, rows, upper=False, left=False)


def _regressed(weight: Tensor, hessian: Tensor | None, first: Tensor) -> Tucker2:
    """Make the inputs that `first` (n, C_in) leaves orthonormal and regress the layer's output on them."""
    if hessian is None:
        outputs = torch.einsum("ock,rc->ork", weight, first).flatten(1)
        return Tucker2(first, outputs, None)
    _, channels, kernel = weight.shape
    half = torch.einsum("xdl,rd->xrl", hessian.unflatten(1, (channels, kernel)), first).flatten(1)
    inner = torch.einsum("ckn,rc->rkn", half.unflatten(0, (channels, kernel)), first).flatten(0, 1)
    lower = torch.linalg.cholesky(inner)
    outputs = torch.linalg.solve_triangular(lower, (weight.flatten(1) @ half).t(), upper=False).t()
    return Tucker2(first, outputs, lower)
