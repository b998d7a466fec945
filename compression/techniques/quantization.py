"""Quantization of weights and activations."""

from dataclasses import dataclass

from torch import nn

from compression.calibration.finish import finish_step
from compression.calibration.hessian import damped, fitting_hessian
from compression.context import CompressionContext
from compression.errors import InputError
from compression.grids import dequantize, quantize_to_grid
from compression.knobs import knob, validate
from compression.layers import config_for, is_selected, selected_layers, weight_layers
from compression.solvers.grids import choose_grid, fit_with_feedback
from compression.state import ActivationQuantization, HalfPrecision, spread_to_tied, state_of
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
        "gptq", "Below 8 bits: to the nearest value, or with feedback of each error to the weights still to come.",
        choices=("nearest", "gptq"), advanced=True,
    )
    range: str = knob(
        "mse", "Scale by the largest weight, by 99.9 % of them, or by the least squared rounding error.",
        choices=("minmax", "percentile", "mse"), advanced=True,
    )
    symmetry: str = knob(
        "symmetric", "Levels on both sides of zero alike, or from the lowest to the highest weight.",
        choices=("symmetric", "affine"), advanced=True,
    )
    activation_range: str = knob(
        "percentile", "How the range of an activation is chosen.", choices=("minmax", "percentile", "mse"),
        advanced=True,
    )
    protect_first_last: bool = knob(
        True, "Keep the first and the last layer at 8 bits where fewer are asked for.", advanced=True
    )
    linear_kernel: str = knob(
        "float", "What multiplies linear layers with float activations: float32, or integers, on weights that stay "
        "packed in memory and activations that are rounded to 8 bits as they come.",
        choices=("float", "integer"), advanced=True,
    )

    def __post_init__(self) -> None:
        validate(self, "quantization")
        if self.activation_bits < self.weight_bits:
            allowed = f"with {self.activation_bits}-bit activations at most {self.activation_bits} is allowed"
            raise InputError("quantization.weight_bits", self.weight_bits, allowed)
        if self.symmetry == "affine" and self.weight_bits == self.activation_bits == 8:
            raise InputError("quantization.symmetry", self.symmetry, "int8 kernels need 'symmetric' 8-bit weights")
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
    helps="Smaller at any number of bits; faster with 8-bit activations, which run on integer kernels.",
    needs=frozenset({"calibration"}),
    order=60,
)
def quantize(model: nn.Module, config: QuantizationConfig, context: CompressionContext) -> nn.Module:
    """Put weights on their grids and say how activations are to be quantized."""
    state = state_of(model)
    bits = {fqn: _quantize_layer(fqn, layer, config, model, context) for fqn, layer in selected_layers(model, context)}
    if config.weight_bits == 16:
        _halve_rest(model, context)
    elif config.weight_bits < 16:
        _quantize_embeddings(model, context)
    if any(own < 16 for own in bits.values()):
        finish_step(model, context)
        if config.linear_kernel == "integer":
            state.compute_dtype = "int8"
    if config.linear_kernel == "integer" and config.weight_bits >= 16:
        context.report.notes.append("integer kernels need weights of at most 8 bits; linear_kernel has no effect.")
    if config.activation_bits == 8:
        kept = (*context.report.skipped, *(fqn for fqn, own in bits.items() if own >= 16))
        state.activations = ActivationQuantization(8, config.activation_range, excluded=kept)
    elif config.activation_bits == 16:
        state.compute_dtype = "float16"
    return model


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


def _quantize_layer(
    fqn: str, layer: nn.Module, shared: QuantizationConfig, model: nn.Module, context: CompressionContext
) -> int:
    """Quantize one layer's weight by the step's settings and the layer's own; returns its bits."""
    config = config_for(fqn, shared, context)
    bits = config.weight_bits
    if bits == 32:
        context.report.skipped[fqn] = "its weights stay at 32 bits"
        return bits
    if bits == 16:
        _halve(f"{fqn}.weight", model)
        context.report.changed.append(fqn)
        return bits
    if config.protect_first_last and fqn in context.protected and fqn not in context.overrides:
        bits = max(bits, _PROTECTED_BITS)
    state, name, weight = state_of(model), f"{fqn}.weight", layer.weight.detach()
    hessian = fitting_hessian(fqn, layer, context) if config.rounding == "gptq" and bits < _PROTECTED_BITS else None
    affine = config.symmetry == "affine" and not (bits == 8 and config.activation_bits == 8)
    grid = choose_grid(weight, bits, config.granularity, config.group_size, config.range, affine)
    if hessian is not None:
        mask = state.masks.get(name)
        grid, weight = fit_with_feedback(weight, grid, damped(hessian), None if mask is None else ~mask)
    layer.weight.data = dequantize(quantize_to_grid(weight, grid), grid)
    state.encodings[name] = grid
    context.report.changed.append(fqn)
    return bits


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
