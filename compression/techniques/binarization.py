"""Binary and ternary weights with one scale per filter."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, fitting_hessian
from compression.context import CompressionContext
from compression.grids import decode_codebook, dequantize, quantize_to_grid
from compression.knobs import knob, validate
from compression.layers import config_for, selected_layers
from compression.other_weights import selected_weights, set_value
from compression.solvers.codebooks import assign_with_feedback
from compression.solvers.gptq import grouped
from compression.solvers.grids import choose_grid
from compression.state import Codebook, state_of
from compression.techniques.registry import register_technique

_TWN = 0.7
_ROUNDS = 4
_THRESHOLDS = torch.linspace(0.2, 1.2, 21)


@dataclass(frozen=True)
class BinarizationConfig:
    """Knobs of binarization."""

    levels: str = knob(
        "ternary", "Weights are -1 or 1, or -1, 0 or 1, times a scale per filter.", choices=("ternary", "binary"),
        sweep=("ternary", "binary"),
    )
    threshold: str = knob(
        "feedback", "Which weights become zero: those below 0.7 of the mean (TWN), by the least squared error, or by "
        "the layer's output with feedback of errors.", choices=("twn", "search", "feedback"), advanced=True,
    )
    protect_first_last: bool = knob(True, "Keep the first and the last layer at 8 bits.", advanced=True)

    def __post_init__(self) -> None:
        validate(self, "binarization")


@register_technique(
    config_type=BinarizationConfig,
    key="binarization",
    title="Binary and ternary weights",
    family="binarization",
    paper="Li et al. 2016 (ternary weight networks)",
    paper_url="https://arxiv.org/abs/1605.04711",
    main_knob="levels",
    summary="Leaves only the signs of weights, or signs and zeros, and one scale per filter.",
    smaller="yes, most of all per weight. Needs recovery to keep accuracy.",
    faster="only together with 8-bit activations.",
    formula=r"\begin{gathered}\hat w=\alpha t,\quad t_j=\mathrm{sign}(w_j)\,[\,|w_j|>\Delta\,]\\"
    r"\alpha=\frac{\sum_{t_j\neq 0}|w_j|}{|\{j:t_j\neq 0\}|}\end{gathered}",
    symbols=r"$t_j$: -1, 0 or 1 (binary: no 0); $\Delta$: the threshold below which a weight becomes zero; "
    r"$\alpha$: one scale per filter.",
    example=({"technique": "binarization", "levels": "ternary"},),
    needs=frozenset({"calibration"}),
    order=64,
)
def binarize(model: nn.Module, config: BinarizationConfig, context: CompressionContext) -> nn.Module:
    """Put weights on two or three values per filter (BWN, arXiv 1603.05279; TWN, arXiv 1605.04711)."""
    state = state_of(model)
    for fqn, layer in selected_layers(model, context):
        context.check_cancelled()
        own = config_for(fqn, config, context)
        weight, name = layer.weight.detach(), f"{fqn}.weight"
        if own.protect_first_last and fqn in context.protected and fqn not in context.overrides:
            grid = choose_grid(weight, 8)
            layer.weight.data = dequantize(quantize_to_grid(weight, grid), grid)
            state.encodings[name] = grid
        else:
            hessian = _hessian(fqn, model, context) if own.threshold == "feedback" else None
            codebook, indices = to_levels(weight, own, state.masks.get(name), hessian)
            layer.weight.data = decode_codebook(indices, codebook)
            state.encodings[name] = codebook
        context.report.changed.append(fqn)
    for other, value, own in selected_weights(model, config, context):
        codebook, indices = to_levels(value, own, state.masks.get(other.name), None)
        set_value(model, other, decode_codebook(indices, codebook), context)
        state.encodings[other.name] = codebook
    finish_step(model, context)
    return model


def _hessian(fqn: str, model: nn.Module, context: CompressionContext) -> Tensor | None:
    found = fitting_hessian(fqn, model, context)
    return None if found is None else damped(found)


def to_levels(
    weight: Tensor, config: BinarizationConfig, mask: Tensor | None, hessian: Tensor | None
) -> tuple[Codebook, Tensor]:
    """Scales per filter and the level of each weight. Pruned weights need the ternary zero."""
    ternary = config.levels == "ternary" or (mask is not None and not bool(mask.all()))
    values = torch.tensor([-1.0, 0.0, 1.0] if ternary else [-1.0, 1.0])
    signs = _least_error_signs(weight, ternary, config.threshold)
    scale = _scale(weight, signs)
    if hessian is not None:
        signs, scale = _with_feedback(weight, values, scale, hessian, mask)
    return Codebook(values, scale), _indices(signs, ternary)


def _indices(signs: Tensor, ternary: bool) -> Tensor:
    return (signs + 1).long() if ternary else (signs > 0).long()


def _least_error_signs(weight: Tensor, ternary: bool, threshold: str) -> Tensor:
    if not ternary:
        return torch.where(weight >= 0, 1.0, -1.0)
    rows = weight.flatten(1)
    size = rows.abs()
    mean = size.mean(1, keepdim=True)
    best = torch.full_like(mean, -torch.inf)
    chosen = torch.zeros_like(rows)
    for factor in (torch.tensor([_TWN]) if threshold == "twn" else _THRESHOLDS):
        kept = size > factor * mean
        # the least squared error of a threshold is |w|^2 - (sum of kept |w|)^2 / kept
        gain = (size * kept).sum(1, keepdim=True).square() / kept.sum(1, keepdim=True).clamp(min=1)
        chosen = torch.where(gain > best, kept * rows.sign(), chosen)
        best = torch.maximum(gain, best)
    return chosen.reshape(weight.shape)


def _scale(weight: Tensor, signs: Tensor) -> Tensor:
    rows, levels = weight.flatten(1), signs.flatten(1)
    return (rows * levels).sum(1).abs() / levels.square().sum(1).clamp(min=1)


def _with_feedback(
    weight: Tensor, values: Tensor, scale: Tensor, hessian: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Assign with feedback and refit the scales to the output, in turns; keep the best."""
    rows, batched = grouped(weight.double(), hessian)
    fixed = None if mask is None else ~mask
    best: tuple[float, Tensor, Tensor] | None = None
    for _ in range(_ROUNDS):
        indices = assign_with_feedback(weight, values, hessian, fixed, scale)
        signs = values[indices]
        levels = signs.double().flatten(1).unflatten(0, (len(batched), -1))
        weighted = levels @ batched
        fitted = (weighted * rows).sum(-1) / (weighted * levels).sum(-1).clamp(min=1e-30)
        error = float((((levels * fitted[..., None] - rows) @ batched) * (levels * fitted[..., None] - rows)).sum())
        if best is None or error < best[0]:
            best = (error, signs, fitted.flatten().clamp(min=0).float())
        scale = fitted.flatten().clamp(min=1e-12).float()
    assert best is not None
    return best[1], best[2]
