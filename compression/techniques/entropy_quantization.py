"""Entropy-coded quantization: one uniform step per layer, and as many bits per weight as were asked for."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.artifact.packing.adaptive import choose_contexts
from compression.calibration.finish import finish_step
from compression.calibration.fisher import output_energy
from compression.calibration.hessian import damped, fitting_hessian
from compression.context import CompressionContext
from compression.grids import dequantize
from compression.knobs import knob, validate
from compression.layers import config_for, is_selected, selected_layers
from compression.metrics.environment import int8_weight_bits
from compression.other_weights import selected_weights
from compression.solvers.gptq import grouped
from compression.solvers.rates import (
    conditional_precision,
    factor_for_rate,
    meet_rate,
    output_energy_per_weight,
    round_to_steps,
)
from compression.state import ActivationQuantization, HalfPrecision, UniformGrid, spread_to_tied, state_of
from compression.techniques.registry import register_technique

_TOLERANCE, _ATTEMPTS = 0.004, 5
_MOST_BITS = 8
_FLAT = 1e-3


@dataclass(frozen=True)
class EntropyQuantizationConfig:
    """Knobs of entropy-coded quantization."""

    rate: float = knob(
        2.5, "Stored bits per weight, averaged over the layers, after entropy coding.", low=0.8, high=6.0, step=0.05,
        unit="bits per weight", sweep=(6.0, 5.0, 4.0, 3.5, 3.0, 2.5, 2.1, 1.7, 1.35, 1.0),
    )
    activation_bits: int = knob(
        32, "Bits per activation; 8 runs on integer kernels.", choices=(8, 16, 32), unit="bits", by_layer=False,
    )
    allocation: str = knob(
        "fisher", "How the rate is spread over layers: the same relative error in each, or less error where the loss "
        "reacts more (Fisher information).", choices=("uniform", "fisher"), advanced=True, by_layer=False,
    )
    activation_range: str = knob(
        "percentile", "How the range of an activation is chosen.", choices=("minmax", "percentile", "mse"),
        advanced=True, by_layer=False,
    )

    def __post_init__(self) -> None:
        validate(self, "entropy_quantization")


@dataclass
class _Layer:
    """One weight to be rounded.

    Attributes:
        name: Of the parameter.
        weight: float32, (C_out, ...).
        rows: The same as (G, R, K), float64.
        hessian: Damped, (G, K, K); None where no statistics of inputs fit.
        steps: Relative step of each output channel, (C_out,); equal within a group of a convolution.
        fixed: True where a pruned weight stays zero, (G, R, K), or None.
        weighed: Whether the steps follow the loss's gradient; otherwise they give an equal relative error.
    """

    name: str
    weight: Tensor
    rows: Tensor
    hessian: Tensor | None
    steps: Tensor
    fixed: Tensor | None
    weighed: bool

    @property
    def fqn(self) -> str:
        """The module."""
        return self.name.rpartition(".")[0]


@register_technique(
    config_type=EntropyQuantizationConfig,
    key="entropy_quantization",
    title="Entropy-coded quantization",
    family="quantization",
    paper="Frantar et al. 2022 (GPTQ); Wiedemann et al. 2020 (DeepCABAC)",
    paper_url="https://arxiv.org/abs/1907.11900",
    main_knob="rate",
    summary="Rounds each layer's weights to multiples of one step, without clipping; frequent values are stored in few "
    "bits.",
    smaller="yes, at any rate: the slider is the number of stored bits per weight.",
    faster="with 8-bit activations, which run on integer kernels; with float activations it is not.",
    formula=r"\begin{gathered}\hat w=\Delta_l\,q,\quad q=\left\lfloor w/\Delta_l\right\rceil\\"
    r"\Delta_l=d\,\big/\sqrt{g_l\,h_l},\qquad \tfrac{1}{N}\sum_l H(q_l)=\text{rate}\end{gathered}",
    symbols=r"$\Delta_l$: step of layer $l$; $g_l$: squared gradient of the loss at the layer's output; $h_l$: "
    r"precision that its inputs ask for; $d$: one number for the network, found so that the coded integers $q$ take "
    r"the rate asked for. Each rounding error is passed on to the weights still to be rounded.",
    example=({"technique": "entropy_quantization", "rate": 2.0},),
    needs=frozenset({"calibration"}),
    order=61,
)
def quantize_to_rate(
    model: nn.Module, config: EntropyQuantizationConfig, context: CompressionContext
) -> nn.Module:
    """Round weights to uniform steps whose coded integers take ``rate`` bits per weight, packed tables apart.

    Layers with a ``rate`` of their own (overrides) meet that rate each; the others share theirs, so that a layer to
    which the loss reacts strongly gets more bits. Pruned weights stay zero. Weights that are on another grid already
    are rounded again.

    Args:
        model: Changed in place.
        config: Knobs.
        context: Calibration data; Hessians and gradients are computed once and kept.

    Example:
        >>> step = {"technique": "entropy_quantization", "rate": 1.7, "activation_bits": 8}
        >>> recipe = recipe_from_dict({"model": "fashion_resnet20", "dataset": "fashion_mnist", "steps": [step]})
    """
    limit = _limit(config)
    layers = _prepared(model, config, context)
    wanted: dict[float, list[_Layer]] = {}
    for layer in layers:
        wanted.setdefault(config_for(layer.fqn, config, context).rate, []).append(layer)
    for rate, members in wanted.items():
        _round(members, rate, limit, model, context)
    context.report.changed += dict.fromkeys(layer.fqn for layer in layers)
    spread_to_tied(model)
    finish_step(model, context)
    if not context.include:
        _halve_rest(model)
    if config.activation_bits == 8:
        kept = tuple(context.report.skipped)
        state_of(model).activations = ActivationQuantization(8, config.activation_range, excluded=kept)
    elif config.activation_bits == 16:
        state_of(model).compute_dtype = "float16"
    return model


def _halve_rest(model: nn.Module) -> None:
    """Store what is no layer's weight in 16 bits: at few bits per weight, norms would be a tenth of the file.

    Values that 16 bits would change by more than their usual rounding (2^-11) stay as they are.
    """
    state = state_of(model)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name in state.encodings or name in state.masks or not tensor.is_floating_point():
            continue
        value = tensor.detach()
        half = value.half().float()
        if bool(((half - value).abs() <= value.abs() * 2**-10).all()):
            tensor.data = half
            state.encodings[name] = HalfPrecision()


def _limit(config: EntropyQuantizationConfig) -> int:
    """Largest integer: that of 8 bits, or what this processor's integer kernels multiply without overflow."""
    bits = min(_MOST_BITS, int8_weight_bits()) if config.activation_bits == 8 else _MOST_BITS
    return 2 ** (bits - 1) - 1


def _prepared(
    model: nn.Module, config: EntropyQuantizationConfig, context: CompressionContext
) -> list[_Layer]:
    """Layers, embeddings and weights of other modules (recurrent ones, say) with their relative steps."""
    energies = output_energy(context) if config.allocation == "fisher" else {}
    found: dict[str, tuple[Tensor, Tensor | None, Tensor]] = {}
    for fqn, layer in selected_layers(model, context):
        hessian = fitting_hessian(fqn, model, context)
        weight = layer.weight.detach()
        if hessian is None:
            found[fqn] = weight, None, torch.zeros(1)
        else:
            _, batched = grouped(weight, damped(hessian))
            found[fqn] = weight, batched, conditional_precision(batched)
    informed = [precision.log().mean() for _, hessian, precision in found.values() if hessian is not None]
    usual = torch.stack(informed).mean().exp() if informed else torch.ones(())
    layers = []
    for fqn, (weight, hessian, precision) in found.items():
        context.check_cancelled()
        own = precision if hessian is not None else usual.reshape(1)
        layers.append(_layer(f"{fqn}.weight", weight, hessian, own, energies.get(fqn), model))
    uninformed = [fqn for fqn, (_, hessian, _) in found.items() if hessian is None]
    if uninformed:
        names = ", ".join(uninformed[:4]) + (" and others" if len(uninformed) > 4 else "")
        context.report.notes.append(f"rounded to the nearest values, as no statistics of inputs fit: {names}")
    layers += _embeddings(model, energies, context)
    for other, weight, _ in selected_weights(model, config, context):
        layers.append(_layer(other.name, weight, None, torch.ones(1), None, model))
    _align(layers)
    return layers


def _align(layers: list[_Layer]) -> None:
    """Give layers without a gradient of the loss the others' mean step relative to the size of the weights."""
    sizes = [max(float(layer.rows.square().mean().sqrt()), 1e-30) for layer in layers]
    logs = [
        float((layer.steps / size).log().mean()) for layer, size in zip(layers, sizes, strict=True) if layer.weighed
    ]
    for layer, size in zip(layers, sizes, strict=True):
        if logs and not layer.weighed:
            layer.steps = torch.full_like(layer.steps, size * math.exp(sum(logs) / len(logs)))


def _embeddings(model: nn.Module, energies: dict[str, Tensor], context: CompressionContext) -> list[_Layer]:
    """Embeddings that are no other layer's weight, each row as if it were read equally often."""
    if context.include:
        return []
    tied = {id(layer.weight) for layer in model.modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    found = []
    for fqn, module in model.named_modules():
        if isinstance(module, nn.Embedding) and id(module.weight) not in tied and is_selected(fqn, context):
            precision = torch.full((1,), 2.0 / module.num_embeddings, dtype=torch.float64)
            energy = energies.get(fqn)
            energy = None if energy is None else energy.mean()[None]
            found.append(_layer(f"{fqn}.weight", module.weight.detach(), None, precision, energy, model))
    return found


def _layer(
    name: str, weight: Tensor, hessian: Tensor | None, precision: Tensor, energy: Tensor | None, model: nn.Module
) -> _Layer:
    """A layer with steps ``1 / sqrt(energy * precision)``, or of equal relative error where there is no energy.

    Args:
        name: Of its weight.
        weight: (C_out, ...).
        hessian: (G, K, K) or None.
        precision: (G,) or (1,).
        energy: Of the loss's gradient per output channel of the original, or None.
        model: For masks and removed channels.
    """
    state = state_of(model)
    groups = 1 if hessian is None else len(hessian)
    rows = weight.double().flatten(1).unflatten(0, (groups, -1))
    if energy is None:
        signal = rows.square().mean() if hessian is None else output_energy_per_weight(rows, hessian)
        relative = math.sqrt(max(float(signal), 1e-30)) / (precision if hessian is not None else torch.ones(1)).sqrt()
    else:
        kept = state.kept.get(name.rpartition(".")[0])
        energy = energy if kept is None or len(energy) <= int(kept.max()) else energy[kept]
        per_group = energy.unflatten(0, (groups, -1)).mean(1) if len(energy) % groups == 0 else energy.mean()[None]
        floor = _FLAT * float(per_group.max())
        relative = (per_group.clamp(min=max(floor, 1e-30)) * precision).rsqrt()
    mask = state.masks.get(name)
    fixed = None if mask is None else ~mask.flatten(1).unflatten(0, (groups, -1))
    steps = relative.expand(groups).repeat_interleave(rows.shape[1])
    return _Layer(name, weight, rows, hessian, steps, fixed, energy is not None)


def _round(
    layers: list[_Layer], rate: float, limit: int, model: nn.Module, context: CompressionContext
) -> None:
    """Find the common factor of the steps that meets a rate, and put the weights on their grids."""
    total = sum(layer.weight.numel() for layer in layers)
    if not total:
        return
    symbols: dict[str, Tensor] = {}
    grids: dict[str, Tensor] = {}

    def solve(factor: float) -> float:
        bits = 0.0
        for number, layer in enumerate(layers):
            context.check_cancelled()
            context.progress(number / len(layers), f"rounding {layer.name.removesuffix('.weight')}")
            steps = torch.maximum(factor * layer.steps, _least_steps(layer, limit)).float()
            rows = steps.reshape(layer.rows.shape[:2])
            whole = round_to_steps(layer.rows, rows, layer.hessian, limit, layer.fixed).reshape(layer.weight.shape)
            symbols[layer.name], grids[layer.name] = whole, steps
            bits += coded_bits(whole)
        return bits / total

    weights = [layer.weight.flatten(1) for layer in layers]
    start = factor_for_rate(weights, [layer.steps.float() for layer in layers], limit, rate)
    meet_rate(solve, start, rate, _TOLERANCE, _ATTEMPTS)
    for layer in layers:
        _put(layer, symbols[layer.name], grids[layer.name], model)
    reached = sum(coded_bits(whole) for whole in symbols.values()) / total
    if abs(reached / rate - 1) > 0.01:
        context.report.notes.append(f"{reached:.2f} bits per weight instead of {rate:g}: no step gives exactly that")


def _least_steps(layer: _Layer, limit: int) -> Tensor:
    """Steps below which the largest weight of the layer would not fit into its integers."""
    return (layer.weight.abs().max().double() / limit).clamp(min=1e-12).expand(len(layer.weight))


def coded_bits(symbols: Tensor) -> float:
    """Bits that integers take in the packed file, about.

    Args:
        symbols: (C_out, ...), int32.
    """
    low = int(symbols.min())
    count = int(symbols.max()) - low + 1
    if count == 1:
        return 0.0
    return choose_contexts((symbols - low).flatten().numpy(), tuple(symbols.shape), count)[1]


def _put(layer: _Layer, symbols: Tensor, steps: Tensor, model: nn.Module) -> None:
    """Write a layer's rounded weights, on a grid of as few bits as hold its integers."""
    largest = int(symbols.abs().max())
    bits = max(2, largest.bit_length() + 1)
    scale = steps if bool((steps != steps[0]).any()) else steps[:1]
    grid = UniformGrid(bits, scale.clone())
    model.get_parameter(layer.name).data = dequantize(symbols, grid)
    state_of(model).encodings[layer.name] = grid
