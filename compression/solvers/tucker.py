"""Tucker-2 decomposition of a convolution's weight: fewer input and output channels around a smaller kernel."""

from dataclasses import dataclass

import torch
from torch import Tensor

_REFINEMENTS = 3


@dataclass(frozen=True)
class TuckerBasis:
    """Orthogonal channel bases of a weight, float64, most energy first; where whitened, of its whitened form.

    Attributes:
        tensor: (C_out, C_in, k, k), whitened on the input side.
        outputs: (C_out, C_out).
        inputs: (C_in, C_in).
        output_energy: Squared singular values of the output mode, (C_out,).
        input_energy: Of the input mode, (C_in,).
        unwhiten: (C_in, C_in), maps input channels to whitened ones.
    """

    tensor: Tensor
    outputs: Tensor
    inputs: Tensor
    output_energy: Tensor
    input_energy: Tensor
    unwhiten: Tensor


def tucker_basis(weight: Tensor, hessian: Tensor | None) -> TuckerBasis:
    """Higher-order SVD over both channel modes (Tucker-2; Kim et al., arXiv 1511.06530).

    Args:
        weight: (C_out, C_in, k, k).
        hessian: (K, K), damped, float64, with K = C_in k k, or None. Its input channels' second moments whiten the
            weight, so that what the layer puts out counts and not what the weight is.
    """
    tensor, channels = weight.double(), weight.shape[1]
    factor = torch.eye(channels, dtype=torch.float64)
    if hessian is not None:
        size = weight[0, 0].numel()
        blocks = hessian.view(channels, size, channels, size).diagonal(dim1=1, dim2=3)
        factor = torch.linalg.cholesky(blocks.mean(-1))
    tensor = torch.einsum("oihw,ij->ojhw", tensor, factor)
    outputs, output_energy = _mode(tensor)
    inputs, input_energy = _mode(tensor.transpose(0, 1))
    return TuckerBasis(tensor, outputs, inputs, output_energy, input_energy, torch.linalg.inv(factor))


def _mode(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Basis and energies of the first mode, most energy first."""
    unfolded = tensor.flatten(1)
    energy, basis = torch.linalg.eigh(unfolded @ unfolded.t())
    return basis.flip(1), energy.flip(0).clamp(min=0)


def tucker_factors(
    basis: TuckerBasis, inner: int, outer: int, refinements: int = _REFINEMENTS
) -> tuple[Tensor, Tensor, Tensor]:
    """Factors at given ranks: truncated bases, refined by higher-order orthogonal iteration.

    Args:
        basis: Of the weight.
        inner: Input rank.
        outer: Output rank.
        refinements: Iterations; 0 is the truncated higher-order SVD.

    Returns:
        float32 ``inward`` (inner, C_in), ``core`` (outer, inner, k, k) and ``outward`` (C_out, outer).
    """
    left, right = basis.outputs[:, :outer], basis.inputs[:, :inner]
    for _ in range(refinements):
        left = _mode(torch.einsum("oihw,ij->ojhw", basis.tensor, right))[0][:, :outer]
        right = _mode(torch.einsum("oihw,op->iphw", basis.tensor, left))[0][:, :inner]
    core = torch.einsum("oihw,op,ij->pjhw", basis.tensor, left, right)
    return (right.t() @ basis.unwhiten).float(), core.float(), left.float()


def tucker_weight(inward: Tensor, core: Tensor, outward: Tensor) -> Tensor:
    """The kernel that the three factors make, (C_out, C_in, k, k)."""
    return torch.einsum("op,pjhw,ji->oihw", outward, core, inward)


def rank_path(basis: TuckerBasis, levels: int, multiple: int) -> list[tuple[int, int]]:
    """Pairs of input and output rank that hold equal shares of both modes' energy, from few to many, each once."""
    ends = [energy.cumsum(0) / energy.sum().clamp(min=1e-30) for energy in (basis.input_energy, basis.output_energy)]
    pairs = []
    for level in torch.linspace(0, 1, levels + 2)[1:-1].sqrt().tolist():
        inner, outer = (_multiple(int((end < level).sum()) + 1, multiple, len(end)) for end in ends)
        pairs.append((inner, outer))
    return list(dict.fromkeys(pairs))


def _multiple(rank: int, of: int, most: int) -> int:
    return min(-(-rank // of) * of, most)
