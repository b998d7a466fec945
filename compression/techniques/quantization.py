"""Quantization of weights and activations."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, fitting_hessian
from compression.calibration.smoothing import smooth
from compression.context import CompressionContext
from compression.core.errors import InputError
from compression.grids import dequantize, quantize_to_grid
from compression.knobs import knob, knobs_of, validate
from compression.layers import config_for, is_selected, selected_layers, weight_layers
from compression.metrics.environment import int8_weight_bits
from compression.other_weights import free_parameters, selected_weights, set_value
from compression.solvers.adaround import fit_with_adaround
from compression.solvers.grids import choose_grid, fit_with_feedback
from compression.state import ActivationQuantization, HalfPrecision, UniformGrid, spread_to_tied, state_of
from compression.structure.equalization import equalize
from compression.techniques.registry import register_technique

_PROTECTED_BITS = 8
_REDUCED_RANGE = (
    "weights meant for 8 bits have 7: this processor's integer kernels (x86 without VNNI) overflow with 8-bit weights"
)


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
        "mse", "Scale by the largest weight, by 99.9 % of them, or by the least squared rounding error.",
        choices=("minmax", "percentile", "mse"), advanced=True,
    )
    symmetry: str = knob(
        "symmetric", "Reach of the grid: the same on both sides of zero, or affine, each side its own.",
        choices=("symmetric", "affine"), advanced=True,
    )
    activation_range: str = knob(
        "percentile", "How the range of an activation is chosen.", choices=("minmax", "percentile", "mse"),
        advanced=True, by_layer=False,
    )
    equalize: bool = knob(
        False, "First rescale channels so that ranges match, across layers joined by ReLU and before batch norms; what "
        "the network computes stays the same.", advanced=True, by_layer=False,
    )
    smoothing: float = knob(
        0.0, "With 8-bit activations: how much of the activations' range goes into the weights behind a layer norm; 0 "
        "leaves them as they are.", low=0.0, high=1.0, step=0.05, advanced=True, by_layer=False,
    )
    protect_first_last: bool = knob(
        True, "Keep the first and the last layer at 8 bits where fewer are asked for.", advanced=True
    )
    linear_kernel: str = knob(
        "float", "What multiplies linear layers with float activations: float32, or integers, on weights that stay "
        "packed in memory and activations that are rounded to 8 bits as they come.",
        choices=("float", "integer"), advanced=True, by_layer=False,
    )

    def __post_init__(self) -> None:
        validate(self, "quantization")
        if self.activation_bits < self.weight_bits:
            allowed = f"with {self.activation_bits}-bit activations at most {self.activation_bits} is allowed"
            raise InputError("quantization.weight_bits", self.weight_bits, allowed)
        if self.symmetry == "affine" and self.weight_bits == self.activation_bits == 8:
            allowed = "with 8-bit weights and activations only symmetric is allowed, as the int8 kernels need it"
            raise InputError("quantization.symmetry", self.symmetry, allowed)
        if self.linear_kernel == "integer" and self.activation_bits != 32:
            allowed = f"with {self.activation_bits}-bit activations only float is allowed"
            raise InputError("quantization.linear_kernel", self.linear_kernel, allowed)


@register_technique(
    config_type=QuantizationConfig,
    key="quantization",
    title="Quantization",
    family="quantization",
    paper="Frantar et al. 2022 (GPTQ)",
    paper_url="https://arxiv.org/abs/2210.17323",
    main_knob="weight_bits",
    summary="Rounds weights, and if wanted activations, to a grid of few values.",
    smaller="yes, at any number of bits.",
    faster="with 8-bit activations, which run on integer kernels; with float activations it is not.",
    formula=r"\begin{gathered}\hat w=s\cdot\mathrm{clip}\!\left(\left\lfloor w/s\right\rceil,\,-m,\,m\right)\\"
    r"m=2^{b-1}-1\end{gathered}",
    symbols=r"$b$: bits; $s$: a scale per output channel, that of the least squared rounding error. Below 8 bits "
    r"each rounding error is passed on to the weights still to be rounded, so that the layer's output stays close.",
    example=({"technique": "quantization", "weight_bits": 3, "granularity": "tensor"},),
    needs=frozenset({"calibration"}),
    order=60,
)
def quantize(model: nn.Module, config: QuantizationConfig, context: CompressionContext) -> nn.Module:
    """Put weights on their grids and say how activations are to be quantized."""
    state = state_of(model)
    if config.weight_bits < 16:
        _rescale(model, config, context)
    layers = dict(selected_layers(model, context))
    configs = {fqn: config_for(fqn, config, context) for fqn in layers}
    _note_common_knobs(config, context)
    uninformed = []
    for number, (fqn, layer) in enumerate(layers.items()):
        if not _quantize_layer(fqn, layer, configs[fqn], model, context, _ticks(number, len(layers), fqn, context)):
            uninformed.append(fqn)
    if uninformed:
        names = ", ".join(uninformed[:4]) + (" and others" if len(uninformed) > 4 else "")
        context.report.notes.append(f"rounded to the nearest values, as no statistics of inputs fit: {names}")
    if config.weight_bits == 16:
        _halve_rest(model, context)
    elif config.weight_bits < 16:
        _quantize_embeddings(model, context)
        _quantize_free(model, context)
    _quantize_others(model, config, context)
    if any(own.weight_bits < 16 for own in configs.values()):
        finish_step(model, context)
        if config.linear_kernel == "integer":
            state.compute_dtype = "int8"
    if config.linear_kernel == "integer" and config.weight_bits >= 16:
        context.report.notes.append("integer kernels need weights of at most 8 bits; linear_kernel has no effect.")
    if config.activation_bits == 8:
        floats = (fqn for fqn, own in configs.items() if own.weight_bits >= 16 or own.activation_bits != 8)
        kept = tuple(dict.fromkeys([*context.report.skipped, *floats]))
        state.activations = ActivationQuantization(8, config.activation_range, excluded=kept)
    elif config.activation_bits == 16:
        state.compute_dtype = "float16"
    return model


def _note_common_knobs(config: QuantizationConfig, context: CompressionContext) -> None:
    """Say which overrides have no effect, because the knob is one of the whole step."""
    common = [name for name, own in knobs_of(type(config)).items() if not own.by_layer]
    if config.activation_bits != _PROTECTED_BITS:
        common.append("activation_bits")
    given = {name for changes in context.overrides.values() for name in changes}
    told = [f"{name} is one for all layers: its override has no effect" for name in common if name in given]
    context.report.notes += told


def _halve(name: str, model: nn.Module) -> None:
    parameter = model.get_parameter(name)
    parameter.data = parameter.data.half().float()
    state_of(model).encodings[name] = HalfPrecision()


def _halve_rest(model: nn.Module, context: CompressionContext) -> None:
    """All parameters but the weights of convolutions and linear layers, which have settings of their own."""
    weights = {f"{fqn}.weight" for fqn, _ in weight_layers(model)}
    names = [n for n, p in model.named_parameters() if p.is_floating_point() and n not in weights]
    rest = [name for name in names if is_selected(name.rpartition(".")[0], context)]
    for name in rest:
        _halve(name, model)
    context.report.changed += rest


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
    """Quantize one layer's weight by its own settings; whether it was rounded in the way that was asked for."""
    bits, symmetry = config.weight_bits, config.symmetry
    if bits == 32:
        context.report.skipped[fqn] = "its weights stay at 32 bits"
        return True
    if bits == 16:
        _halve(f"{fqn}.weight", model)
        context.report.changed.append(fqn)
        return True
    if config.protect_first_last and fqn in context.protected and fqn not in context.overrides:
        bits = max(bits, _PROTECTED_BITS)
    asked = bits
    if config.activation_bits == _PROTECTED_BITS and bits >= int8_weight_bits():
        bits, symmetry = _fit_for_integer_kernels(fqn, bits, symmetry, context)
    tick(0.0)
    state, name, weight = state_of(model), f"{fqn}.weight", layer.weight.detach()
    grid = choose_grid(weight, bits, config.granularity, config.group_size, config.range, symmetry)
    informed = config.rounding != "nearest" and asked < _PROTECTED_BITS  # 7 bits in the place of 8 gain nothing by it
    hessian = fitting_hessian(fqn, model, context) if informed else None
    if hessian is not None:
        grid, weight = _fit(weight, grid, damped(hessian), state.masks.get(name), config.rounding, tick)
    layer.weight.data = dequantize(quantize_to_grid(weight, grid), grid)
    state.encodings[name] = grid
    context.report.changed.append(fqn)
    return hessian is not None or not informed


def _fit_for_integer_kernels(fqn: str, bits: int, symmetry: str, context: CompressionContext) -> tuple[int, str]:
    """Bits and symmetry of a grid whose numbers the kernels can multiply; these leave an affine grid's zero out."""
    most, notes = int8_weight_bits(), context.report.notes
    if bits > most and _REDUCED_RANGE not in notes:
        notes.append(_REDUCED_RANGE)
    if symmetry == "affine":
        notes.append(f"{fqn} is at {most} bits on a symmetric grid: the int8 kernels need that")
    return most, "symmetric"


def _fit(
    weight: Tensor, grid: UniformGrid, hessian: Tensor, mask: Tensor | None, rounding: str,
    tick: Callable[[float], None],
) -> tuple[UniformGrid, Tensor]:
    fixed = None if mask is None else ~mask
    if rounding == "adaround":
        return fit_with_adaround(weight, grid, hessian, fixed, tick)
    return fit_with_feedback(weight, grid, hessian, fixed)


def _quantize_others(model: nn.Module, config: QuantizationConfig, context: CompressionContext) -> None:
    """Recurrent layers and the like: each weight to its nearest value, computed with as a float."""
    for weight, value, own in selected_weights(model, config, context):
        if own.weight_bits == 16:
            _halve(weight.name, model)
        elif own.weight_bits < 16:
            grid = choose_grid(value, own.weight_bits, own.granularity, own.group_size, own.range, own.symmetry)
            set_value(model, weight, dequantize(quantize_to_grid(value, grid), grid), context)
            state_of(model).encodings[weight.name] = grid


def _quantize_free(model: nn.Module, context: CompressionContext) -> None:
    """Matrices outside of layers, which nothing is known of but their values: stored at 8 bits."""
    state = state_of(model)
    for name in free_parameters(model):
        parameter = model.get_parameter(name)
        if name in state.encodings or not is_selected(name, context):
            continue
        grid = choose_grid(parameter.detach(), _PROTECTED_BITS)
        parameter.data = dequantize(quantize_to_grid(parameter.detach(), grid), grid)
        state.encodings[name] = grid
        context.report.changed.append(name)


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
