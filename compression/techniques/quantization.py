"""Quantization of weights and activations."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, fitting_hessian
from compression.calibration.smoothing import smooth
from compression.context import CompressionContext
from compression.errors import InputError
from compression.grids import dequantize, quantize_to_grid
from compression.knobs import knob, validate
from compression.layers import config_for, is_selected, selected_layers
from compression.solvers.adaround import fit_with_adaround
from compression.solvers.grids import choose_grid, fit_with_feedback
from compression.state import ActivationQuantization, HalfPrecision, UniformGrid, spread_to_tied, state_of
from compression.structure.equalization import equalize
from compression.techniques.registry import register_technique

_PROTECTED_BITS = 8


@dataclass(frozen=True)
class QuantizationConfig:
    """Knobs of quantization."""

    weight_bits: int = knob(
        8, "Bits per weight; 32 leaves them as they are.", choices=(2, 3, 4, 5, 6, 7, 8, 16, 32), unit="bits",
        sweep=(16, 8, 7, 6, 5, 4, 3, 2),
    )
    activation_bits: int = knob(
        32, "Bits per activation; 8 runs on integer kernels and needs weights of at most 8 bits.",
        choices=(8, 16, 32), unit="bits",
    )
    granularity: str = knob(
        "channel", "One scale per tensor, per output channel, or per group of inputs.",
        choices=("tensor", "channel", "group"), advanced=True,
    )
    group_size: int = knob(64, "Inputs per group.", low=8, high=512, step=8, advanced=True)
    rounding: str = knob(
        "gptq", "Below 8 bits: to the nearest value, with feedback of each error to the weights still to come, or "
        "learned for each layer's output (the slowest).", choices=("nearest", "gptq", "adaround"), advanced=True,
    )
    range: str = knob(
        "mse", "Scale by the largest weight, by the size that 99 % of the weights stay below, or by the least squared "
        "rounding error.", choices=("minmax", "percentile", "mse"), advanced=True,
    )
    symmetry: str = knob(
        "symmetric", "Reach of the grid: the same on both sides of zero, or affine, each side its own.",
        choices=("symmetric", "affine"), advanced=True,
    )
    activation_range: str = knob(
        "percentile", "How the range of an activation is chosen.", choices=("minmax", "percentile", "mse"),
        advanced=True,
    )
    equalize: bool = knob(
        False, "First rescale channels so that ranges match, across layers joined by ReLU and before batch norms; what "
        "the network computes stays the same.", advanced=True,
    )
    smoothing: float = knob(
        0.0, "With 8-bit activations: how much of the activations' range goes into the weights behind a layer norm; 0 "
        "leaves them as they are.", low=0.0, high=1.0, step=0.05, advanced=True,
    )
    protect_first_last: bool = knob(
        True, "Keep the first and the last layer at 8 bits where fewer are asked for.", advanced=True
    )

    def __post_init__(self) -> None:
        validate(self, "quantization")
        if self.activation_bits < self.weight_bits:
            allowed = f"with {self.activation_bits}-bit activations at most {self.activation_bits} is allowed"
            raise InputError("quantization.weight_bits", self.weight_bits, allowed)
        if self.symmetry == "affine" and self.weight_bits == self.activation_bits == 8:
            allowed = "with 8-bit weights and activations only symmetric is allowed, as the int8 kernels need it"
            raise InputError("quantization.symmetry", self.symmetry, allowed)


@register_technique(
    config_type=QuantizationConfig,
    key="quantization",
    title="Quantization",
    family="quantization",
    paper="Frantar et al. 2022 (GPTQ)",
    paper_url="https://arxiv.org/abs/2210.17323",
    main_knob="weight_bits",
    summary="Rounds weights, and if wanted activations, to a grid of few values.",
    helps="Smaller at any number of bits; faster with 8-bit activations, which run on integer kernels.",
    needs=frozenset({"calibration"}),
    order=60,
)
def quantize(model: nn.Module, config: QuantizationConfig, context: CompressionContext) -> nn.Module:
    """Put weights on their grids and say how activations are to be quantized."""
    state = state_of(model)
    if config.weight_bits == 16:
        _halve(model, context)
    elif config.weight_bits < 16:
        _rescale(model, config, context)
        layers = dict(selected_layers(model, context))
        uninformed = []
        for number, (fqn, layer) in enumerate(layers.items()):
            tick = _ticks(number, len(layers), fqn, context)
            if not _quantize_layer(fqn, layer, config_for(fqn, config, context), model, context, tick):
                uninformed.append(fqn)
        if uninformed:
            names = ", ".join(uninformed[:4]) + (" and others" if len(uninformed) > 4 else "")
            context.report.notes.append(f"rounded to the nearest values, as no statistics of inputs fit: {names}")
        _quantize_embeddings(model, context)
        finish_step(model, context)
    if config.activation_bits == 8:
        kept = tuple(context.report.skipped)
        state.activations = ActivationQuantization(8, config.activation_range, excluded=kept)
    elif config.activation_bits == 16:
        state.compute_dtype = "float16"
    return model


def _halve(model: nn.Module, context: CompressionContext) -> None:
    state = state_of(model)
    floating = [name for name, p in model.named_parameters() if p.is_floating_point()]
    names = [name for name in floating if is_selected(name.rpartition(".")[0], context)]
    for name in names:
        parameter = model.get_parameter(name)
        parameter.data = parameter.data.half().float()
        state.encodings[name] = HalfPrecision()
    context.report.changed += names if context.include or context.exclude else ["all parameters"]


def _rescale(model: nn.Module, config: QuantizationConfig, context: CompressionContext) -> None:
    """Move ranges between layers, and from activations into weights, before any of them is rounded."""
    notes = context.report.notes
    if config.equalize:
        evened, linked = equalize(model, context)
        notes.append(f"equalized: {evened} layers before their batch norms, {linked} pairs of layers joined by ReLU")
    if config.smoothing and config.activation_bits == 8:
        norms = smooth(model, config.smoothing, context)
        notes.append(f"smoothed: {len(norms)} layer norms and the linear layers that read them")
    elif config.smoothing:
        notes.append("smoothing acts with 8-bit activations only: nothing smoothed")


def _ticks(number: int, count: int, fqn: str, context: CompressionContext) -> Callable[[float], None]:
    """Reports how far one of so many layers is, and stops when the user has cancelled."""

    def tick(fraction: float) -> None:
        context.check_cancelled()
        context.progress((number + fraction) / count, f"rounding {fqn}")

    return tick


def _quantize_layer(
    fqn: str, layer: nn.Module, config: QuantizationConfig, model: nn.Module, context: CompressionContext,
    tick: Callable[[float], None],
) -> bool:
    """Put a layer on its grid; whether it was rounded in the way that was asked for."""
    bits, symmetry = config.weight_bits, config.symmetry
    if bits >= 16:
        return True
    if config.protect_first_last and fqn in context.protected and fqn not in context.overrides:
        bits = max(bits, _PROTECTED_BITS)
    if symmetry == "affine" and bits == config.activation_bits == _PROTECTED_BITS:
        symmetry = "symmetric"
        context.report.notes.append(f"{fqn} is at 8 bits on a symmetric grid: the int8 kernels need that")
    tick(0.0)
    state, name = state_of(model), f"{fqn}.weight"
    grid = choose_grid(layer.weight.detach(), bits, config.granularity, config.group_size, config.range, symmetry)
    informed = config.rounding != "nearest" and bits < _PROTECTED_BITS
    hessian = fitting_hessian(fqn, layer, context, state.input_scales.get(fqn)) if informed else None
    if hessian is None:
        weight = layer.weight.detach()
    else:
        grid, weight = _fit(layer.weight.detach(), grid, damped(hessian), state.masks.get(name), config.rounding, tick)
    layer.weight.data = dequantize(quantize_to_grid(weight, grid), grid)
    state.encodings[name] = grid
    context.report.changed.append(fqn)
    return hessian is not None or not informed


def _fit(
    weight: Tensor, grid: UniformGrid, hessian: Tensor, mask: Tensor | None, rounding: str,
    tick: Callable[[float], None],
) -> tuple[UniformGrid, Tensor]:
    fixed = None if mask is None else ~mask
    if rounding == "adaround":
        return fit_with_adaround(weight, grid, hessian, fixed, tick)
    return fit_with_feedback(weight, grid, hessian, fixed)


def _quantize_embeddings(model: nn.Module, context: CompressionContext) -> None:
    if context.include:
        return
    spread_to_tied(model)  # an embedding that is also a layer's weight is on that layer's grid already
    for fqn, module in model.named_modules():
        unknown = f"{fqn}.weight" not in state_of(model).encodings
        if isinstance(module, nn.Embedding) and unknown and is_selected(fqn, context):
            grid = choose_grid(module.weight.detach(), _PROTECTED_BITS)
            module.weight.data = dequantize(quantize_to_grid(module.weight.detach(), grid), grid)
            state_of(model).encodings[f"{fqn}.weight"] = grid
            context.report.changed.append(fqn)
