"""Weights that a checkpoint keeps in parts, computed as their modules would: masks, weight norm, spectral norm."""

import torch
from torch import Tensor

from models.checkpoints.report import ImportReport

_MASK, _ORIGINAL = "_mask", "_orig"
_PARAMETRIZATIONS = "parametrizations."
_ITERATED = 0.1


def bake(tensors: dict[str, Tensor], wanted: set[str], report: ImportReport) -> None:
    """Replace the parts of weights by the weights, in place, where the network wants the latter.

    Pruning masks (``weight_orig`` * ``weight_mask``), weight norm (``weight_g`` * ``weight_v`` / norm, Salimans and
    Kingma 2016; also ``parametrizations.weight.original0`` and ``original1``), and spectral norm (``weight_orig`` /
    (u W v), Miyato et al. 2018; also ``parametrizations.weight.original`` and ``0._u``, ``0._v``).

    Args:
        tensors: By name.
        wanted: Names that the network has.
        report: Takes what was baked.
    """
    for key in list(tensors):
        if key in wanted or key not in tensors:
            continue
        if _PARAMETRIZATIONS in key:
            _bake_parametrization(tensors, key, report)
        elif key.endswith(_ORIGINAL):
            _bake_original(tensors, key.removesuffix(_ORIGINAL), report)
        elif key.endswith("_g") and f"{key[:-2]}_v" in tensors:
            _bake_weight_norm(tensors, key[:-2], key, f"{key[:-2]}_v", report)


def _bake_original(tensors: dict[str, Tensor], name: str, report: ImportReport) -> None:
    original, mask = f"{name}{_ORIGINAL}", f"{name}{_MASK}"
    u, v = f"{name}_u", f"{name}_v"
    if mask in tensors and tensors[mask].shape == tensors[original].shape:
        mask_values = tensors.pop(mask)
        tensors[name] = tensors.pop(original) * mask_values
        report.bake("pruning masks multiplied in", name)
    elif u in tensors and v in tensors:
        tensors[name] = _without_spectral_norm(tensors.pop(original), tensors.pop(u), tensors.pop(v))
        report.bake("spectral norm", name)


def _bake_parametrization(tensors: dict[str, Tensor], key: str, report: ImportReport) -> None:
    """``conv.parametrizations.weight.original...``; the other parts are taken with the one that comes first."""
    module, _, rest = key.partition(_PARAMETRIZATIONS)
    attribute = rest.partition(".")[0]
    base, name = f"{module}{_PARAMETRIZATIONS}{attribute}.", f"{module}{attribute}"
    parts = {part.removeprefix(base) for part in tensors if part.startswith(base)}
    if parts == {"original0", "original1"}:
        _bake_weight_norm(tensors, name, f"{base}original0", f"{base}original1", report)
    elif parts == {"original", "0._u", "0._v"}:
        own = [tensors.pop(f"{base}{part}") for part in ("original", "0._u", "0._v")]
        tensors[name] = _without_spectral_norm(*own)
        report.bake("spectral norm", name)
    elif parts == {"original", "0.mask"} and tensors[f"{base}original"].shape == tensors[f"{base}0.mask"].shape:
        mask = tensors.pop(f"{base}0.mask")
        tensors[name] = tensors.pop(f"{base}original") * mask
        report.bake("pruning masks multiplied in", name)


def _bake_weight_norm(tensors: dict[str, Tensor], name: str, size: str, direction: str, report: ImportReport) -> None:
    g, v = tensors[size], tensors[direction]
    if g.ndim not in (0, v.ndim) or any(a not in (1, b) for a, b in zip(g.shape, v.shape, strict=False)):
        return
    kept = [d for d in range(v.ndim) if g.ndim and g.shape[d] == v.shape[d] != 1]
    norm_over = [d for d in range(v.ndim) if d not in kept]
    norm = torch.linalg.vector_norm(v.double(), dim=norm_over, keepdim=True) if g.ndim else v.double().norm()
    del tensors[size], tensors[direction]
    tensors[name] = (g.double() * v.double() / norm).to(v.dtype)
    report.bake("weight norm", name)


def _without_spectral_norm(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """W / sigma as in eval mode, sigma = u W v with W as a matrix whose rows are the dimension that u counts.

    That is the first, for transposed convolutions the second; where both have that length, the second only if u and v
    are clearly what the power iteration has left there: before any iteration they belong to neither.
    """
    wide = weight.double()
    fitting = [wide.movedim(d, 0).flatten(1) for d in range(min(2, wide.ndim)) if wide.shape[d] == len(u)]

    def miss(matrix: Tensor) -> float:
        product = matrix.T @ u.double()
        return float((product / product.norm().clamp_min(1e-12) - v.double()).norm())

    matrix = fitting[-1] if miss(fitting[-1]) < _ITERATED < miss(fitting[0]) else fitting[0]
    return (wide / (u.double() @ matrix @ v.double())).to(weight.dtype)
