"""Quantization of weights and activations."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.calibration.finish import finish_step
from compression.context import CompressionContext
from compression.errors import InputError
from compression.grids import dequantize, quantize_to_grid
from compression.knobs import knob, validate
from compression.layers import config_for, selected_layers
from compression.state import ActivationQuantization, HalfPrecision, UniformGrid, state_of
from compression.techniques.registry import register_technique

_PROTECTED_BITS = 8
_SHRINK = torch.linspace(1.0, 0.4, 31)


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
    range: str = knob(
        "mse", "Scale by the largest weight, or by the least squared rounding error.", choices=("minmax", "mse"),
        advanced=True,
    )
    activation_range: str = knob(
        "percentile", "How the range of an activation is chosen.", choices=("minmax", "percentile", "mse"),
        advanced=True,
    )
    protect_first_last: bool = knob(
        True, "Keep the first and the last layer at 8 bits where fewer are asked for.", advanced=True
    )

    def __post_init__(self) -> None:
        validate(self, "quantization")
        if self.activation_bits < self.weight_bits:
            allowed = f"with {self.activation_bits}-bit activations at most {self.activation_bits} is allowed"
            raise InputError("quantization.weight_bits", self.weight_bits, allowed)


@register_technique(
    config_type=QuantizationConfig,
    key="quantization",
    title="Quantization",
    family="quantization",
    paper="Krishnamoorthi 2018",
    paper_url="https://arxiv.org/abs/1806.08342",
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
        for fqn, layer in selected_layers(model, context):
            _quantize_layer(fqn, layer, config_for(fqn, config, context), model, context)
        _quantize_embeddings(model, config, context)
        finish_step(model, context)
    if config.activation_bits == 8:
        kept = tuple(context.report.skipped)
        state.activations = ActivationQuantization(8, config.activation_range, excluded=kept)
    elif config.activation_bits == 16:
        state.compute_dtype = "float16"
    return model


def _halve(model: nn.Module, context: CompressionContext) -> None:
    state = state_of(model)
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.half().float()
            state.encodings[name] = HalfPrecision()
    context.report.changed.append("all parameters")


def _quantize_layer(
    fqn: str, layer: nn.Module, config: QuantizationConfig, model: nn.Module, context: CompressionContext
) -> None:
    bits = config.weight_bits
    if bits >= 16:
        return
    if config.protect_first_last and fqn in context.protected and fqn not in context.overrides:
        bits = max(bits, _PROTECTED_BITS)
    weight = layer.weight.detach()
    grid = choose_grid(weight, bits, config)
    layer.weight.data = dequantize(quantize_to_grid(weight, grid), grid)
    state_of(model).encodings[f"{fqn}.weight"] = grid
    context.report.changed.append(fqn)


def choose_grid(weight: Tensor, bits: int, config: QuantizationConfig) -> UniformGrid:
    """Symmetric grid; its scale is the largest weight's, or the one that rounds with the least squared error."""
    rows, group = weight.flatten(1), 0
    if config.granularity == "group" and rows.shape[1] % config.group_size == 0:
        group = config.group_size
        blocks = rows.unflatten(1, (-1, group))
    elif config.granularity == "tensor":
        blocks = rows.reshape(1, 1, -1)
    else:
        blocks = rows.unsqueeze(1)
    top = 2 ** (bits - 1) - 1
    scale = blocks.abs().amax(-1) / top
    if config.range == "mse":
        scale = _least_error(blocks, scale, top)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return UniformGrid(bits, scale if group else scale[:, 0], None, group)


def _least_error(blocks: Tensor, scale: Tensor, top: int) -> Tensor:
    best, chosen = torch.full_like(scale, torch.inf), scale
    for factor in _SHRINK:
        trial = (scale * factor).clamp(min=1e-12).unsqueeze(-1)
        error = ((blocks / trial).round().clamp(-top, top) * trial - blocks).square().sum(-1)
        chosen = torch.where(error < best, trial[..., 0], chosen)
        best = torch.minimum(error, best)
    return chosen


def _quantize_embeddings(model: nn.Module, config: QuantizationConfig, context: CompressionContext) -> None:
    if context.include:
        return
    for fqn, module in model.named_modules():
        if isinstance(module, nn.Embedding) and f"{fqn}.weight" not in state_of(model).encodings:
            grid = choose_grid(module.weight.detach(), _PROTECTED_BITS, config)
            module.weight.data = dequantize(quantize_to_grid(module.weight.detach(), grid), grid)
            state_of(model).encodings[f"{fqn}.weight"] = grid
            context.report.changed.append(fqn)
