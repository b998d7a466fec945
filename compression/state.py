"""What a compressed model knows about its weights beyond their values.

Weights stay ordinary float32 parameters, so any technique can act on the result of any other. Beside them a model
carries a `CompressionState`: on which grid or codebook a tensor's values lie (so that the packer can store symbols
instead of floats), which weights were pruned (so that later steps keep them at zero), and how activations are to
be quantized when the graph is written. The packer checks each claim against the actual values.
"""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

_ATTRIBUTE = "_compression_state"


@dataclass
class UniformGrid:
    """Values lie on ``scale * (q - zero_point)`` with integer ``q`` of `bits` bits.

    Symmetric grids have ``zero_point is None`` and ``q`` in ``[-(2^(b-1) - 1), 2^(b-1) - 1]`` (one bit more at
    the negative end is never used); affine ones ``q`` in ``[0, 2^b - 1]``.

    Attributes:
        bits: 2 to 8.
        scale: float32, shape (1,) per tensor, (C_out,) per output channel, or (C_out, G) per group, where the
            flattened input dimension of the weight (C_out, -1) is split into G groups of `group_size`.
        zero_point: int32 tensor of the same shape as `scale`, or None.
        group_size: Inputs per group; 0 where there are no groups.
    """

    bits: int
    scale: Tensor
    zero_point: Tensor | None = None
    group_size: int = 0
    kind: Literal["uniform"] = "uniform"


@dataclass
class Codebook:
    """Each value is one of ``values`` (K,), times ``scale`` (C_out,) where scales are given.

    Binary is ``values = [-1, 1]`` and ternary ``values = [-1, 0, 1]`` with per-filter scales.
    """

    values: Tensor
    scale: Tensor | None = None
    kind: Literal["codebook"] = "codebook"


@dataclass
class HalfPrecision:
    """Values are exactly representable in ``float16`` or ``bfloat16``."""

    dtype: Literal["float16", "bfloat16"] = "float16"
    kind: Literal["half"] = "half"


Encoding = UniformGrid | Codebook | HalfPrecision


@dataclass(frozen=True)
class ActivationQuantization:
    """How activations are quantized in the written graph.

    Attributes:
        bits: 8 or 16.
        range_method: "minmax", "percentile" or "mse", taken over calibration inputs.
        percentile: Used by "percentile" only, in percent.
        excluded: fqns of layers that stay in float.
    """

    bits: int = 8
    range_method: str = "percentile"
    percentile: float = 99.99
    excluded: tuple[str, ...] = ()


@dataclass
class CompressionState:
    """See the module's docstring. Keys are parameter names as in ``model.named_parameters()``.

    Attributes:
        encodings: Claimed value set per parameter.
        masks: Boolean tensors, True where a weight is kept.
        activations: Activation quantization of the written graph, or None for float activations.
        compute_dtype: "float16" or "bfloat16" when the graph shall execute in 16 bits, "int8" when linear layers with
            float activations shall multiply in integers, rounding these as they come.
        shared: Pairs ``parameter -> parameter it is stored as`` for cross-layer sharing.
        kept: By module fqn, which of the original's output channels are still there, ascending int64 (C_out,).
        input_scales: By module fqn, what each of its input channels is multiplied by beside the original's, (C_in,).
        output_scales: By module fqn, the same of its output channels, (C_out,).
    """

    encodings: dict[str, Encoding] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    activations: ActivationQuantization | None = None
    compute_dtype: str | None = None
    shared: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)
    input_scales: dict[str, Tensor] = field(default_factory=dict)
    output_scales: dict[str, Tensor] = field(default_factory=dict)


def state_of(model: nn.Module) -> CompressionState:
    """The model's compression state, made empty on first use; ``copy.deepcopy`` of the model copies it."""
    state = getattr(model, _ATTRIBUTE, None)
    if state is None:
        state = CompressionState()
        object.__setattr__(model, _ATTRIBUTE, state)
    return state


def spread_to_tied(model: nn.Module) -> None:
    """Give each name of a tied parameter the encoding and mask that were recorded under one of them."""
    state, names = state_of(model), {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    for tied in names.values():
        for table in (state.encodings, state.masks):
            known = next((table[name] for name in tied if name in table), None)
            if known is not None and len(tied) > 1:
                table.update(dict.fromkeys(tied, known))
