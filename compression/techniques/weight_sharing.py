"""Weight sharing: each layer's weights take the few values of a codebook."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, fitting_hessian
from compression.context import CompressionContext
from compression.grids import codebook_indices, decode_codebook
from compression.knobs import knob, validate
from compression.layers import config_for, selected_layers
from compression.other_weights import selected_weights, set_value
from compression.solvers.codebooks import assign_with_feedback, refit_entries
from compression.solvers.gptq import grouped
from compression.solvers.kmeans import weighted_kmeans
from compression.state import Codebook, state_of
from compression.techniques.registry import register_technique

_FEW = 16
_PROTECTED_ENTRIES = 64
_ROUNDS = 2


@dataclass(frozen=True)
class WeightSharingConfig:
    """Knobs of weight sharing."""

    n_clusters: int = knob(
        16, "Distinct values per layer.", low=2, high=256, step=1, sweep=(256, 128, 64, 32, 16, 8, 6, 4, 3, 2),
    )
    weighting: str = knob(
        "hessian", "Count all weights alike, or by what they do to the layer's output, with feedback of errors.",
        choices=("uniform", "hessian"), advanced=True,
    )
    protect_first_last: bool = knob(
        True, "Give the first and the last layer at least 64 values where fewer are asked for.", advanced=True
    )

    def __post_init__(self) -> None:
        validate(self, "weight_sharing")


@register_technique(
    config_type=WeightSharingConfig,
    key="weight_sharing",
    title="Weight sharing",
    family="sharing",
    paper="Han et al. 2016 (Deep Compression)",
    paper_url="https://arxiv.org/abs/1510.00149",
    main_knob="n_clusters",
    summary="Replaces each weight by one of a few shared values per layer; only their numbers are stored.",
    smaller="yes: only the number of a value is stored for each weight, and entropy-coded.",
    faster="no: the values are looked up when the model is loaded and computed with as floats.",
    formula=r"\min_{c,\,k}\;\sum_j h_j\,\bigl(w_j-c_{k(j)}\bigr)^2",
    symbols=r"$c$: the layer's codebook; $k(j)$: the entry that weight $j$ takes; $h_j$: how much an error of the "
    r"weight does to the layer's output.",
    example=({"technique": "weight_sharing", "n_clusters": 6},),
    needs=frozenset({"calibration"}),
    order=62,
)
def share_weights(model: nn.Module, config: WeightSharingConfig, context: CompressionContext) -> nn.Module:
    """Cluster each layer's weights, assign them, and correct the statistics."""
    state = state_of(model)
    for fqn, layer in selected_layers(model, context):
        context.check_cancelled()
        own = config_for(fqn, config, context)
        count = own.n_clusters
        if own.protect_first_last and fqn in context.protected and fqn not in context.overrides:
            count = max(count, _PROTECTED_ENTRIES)
        weight, name = layer.weight.detach(), f"{fqn}.weight"
        hessian = fitting_hessian(fqn, model, context)
        codebook, indices = cluster(weight, count, own.weighting, state.masks.get(name), hessian)
        layer.weight.data = decode_codebook(indices, codebook)
        state.encodings[name] = codebook
        context.report.changed.append(fqn)
    for other, value, own in selected_weights(model, config, context):
        codebook, indices = cluster(value, own.n_clusters, "uniform", state.masks.get(other.name), None)
        set_value(model, other, decode_codebook(indices, codebook), context)
        state.encodings[other.name] = codebook
    finish_step(model, context)
    return model


def cluster(
    weight: Tensor, count: int, weighting: str, mask: Tensor | None, hessian: Tensor | None
) -> tuple[Codebook, Tensor]:
    """Codebook of a layer and the index of each weight; pruned weights share an entry that is exactly zero."""
    importance = torch.ones_like(weight)
    if weighting == "hessian" and hessian is not None:
        rows, batched = grouped(weight, hessian)
        importance = torch.diagonal(batched, dim1=1, dim2=2)[:, None].expand_as(rows).reshape(weight.shape).float()
    with_zero = mask is not None and not bool(mask.all())
    entries = weighted_kmeans(weight.flatten(), importance.flatten(), count, with_zero)
    if weighting == "uniform" or hessian is None or len(entries) < 2:
        codebook = Codebook(entries.float())
        return codebook, codebook_indices(weight, codebook)
    return _with_feedback(weight, entries, damped(hessian), None if mask is None else ~mask, with_zero)


def _with_feedback(
    weight: Tensor, entries: Tensor, hessian: Tensor, fixed: Tensor | None, with_zero: bool
) -> tuple[Codebook, Tensor]:
    """Assign with feedback; with few entries also refit them to the assignment and assign again."""
    rows, batched = grouped(weight.double(), hessian)
    best: tuple[float, Codebook, Tensor] | None = None
    for _ in range(_ROUNDS if len(entries) <= _FEW else 1):
        indices = assign_with_feedback(weight, entries, hessian, fixed)
        zero = int(entries.abs().argmin()) if with_zero else None
        refitted = refit_entries(weight, indices, len(entries), hessian, zero) if len(entries) <= _FEW else entries
        change = refitted[indices].flatten(1).unflatten(0, (len(batched), -1)) - rows
        error = float(((change @ batched) * change).sum())
        if best is None or error < best[0]:
            best = (error, *_as_codebook(refitted, indices))
        entries = refitted.unique()
        if with_zero and not bool((entries == 0).any()):
            break
    assert best is not None
    return best[1], best[2]


def _as_codebook(entries: Tensor, indices: Tensor) -> tuple[Codebook, Tensor]:
    values, place = entries.float().unique(return_inverse=True)
    return Codebook(values), place[indices]
