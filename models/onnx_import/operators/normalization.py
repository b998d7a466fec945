"""Normalisations."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.onnx_import.builder import Call
from models.onnx_import.operator_registry import operator
from models.onnx_import.values import Value, constant

_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
_PER_CHANNEL = 21


@operator("BatchNormalization")
def batch_norm(call: Call) -> Value:
    x, tensors = call.value(0), [call.value(i) for i in range(1, 5)]
    if call.attribute("training_mode", 0) or any(call.node.outputs[1:]):
        raise call.refuse("it is in training mode; an exported inference graph is needed")
    kind = _BATCH_NORMS.get(x.first.ndim)
    if kind is None or not x.is_activation or not all(tensor.is_constant for tensor in tensors):
        raise call.refuse("2 to 5 axes and constant statistics are needed")
    epsilon = call.attribute("epsilon", 1e-5)

    def make() -> nn.Module:
        norm = kind(tensors[0].first.numel(), eps=epsilon, device="meta")
        norm.weight, norm.bias = (call.builder.parameter(t, t.first, "same") for t in tensors[:2])
        norm.running_mean, norm.running_var = (t.first.float().clone() for t in tensors[2:])
        norm.num_batches_tracked = torch.zeros((), dtype=torch.int64)
        return norm

    return call.layer(make, x, (x.first.ndim, epsilon), tensors)


@operator("LayerNormalization")
def layer_norm(call: Call) -> Value:
    x, scale, bias = call.value(0), call.value(1), call.value(2) if call.has(2) else None
    axis, epsilon = call.attribute("axis", -1), call.attribute("epsilon", 1e-5)
    shape = tuple(x.first.shape[axis % x.first.ndim :])
    tensors = [scale] if bias is None else [scale, bias]
    fits = all(t.is_constant and t.first.numel() in (1, torch.Size(shape).numel()) for t in tensors)
    if not x.is_activation or not fits:
        return call.emit(normalized, x, *tensors, shape=shape, epsilon=epsilon)

    def make() -> nn.Module:
        norm = nn.LayerNorm(shape, eps=epsilon, bias=bias is not None, device="meta")
        for name, value in zip(("weight", "bias"), tensors, strict=False):
            whole = value.first.expand(shape) if value.first.numel() == 1 else value.first.reshape(shape)
            view = "same" if value.first.shape == torch.Size(shape) else "derived"
            setattr(norm, name, call.builder.parameter(value, whole, view))
        return norm

    return call.layer(make, x, (shape, epsilon), tensors)


def normalized(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, shape: tuple[int, ...], epsilon: float
) -> Tensor:
    """Layer normalisation with tensors that are not constant."""
    plain = F.layer_norm(x, shape, None, None, epsilon) * scale
    return plain if bias is None else plain + bias


@operator("RMSNormalization", "SimplifiedLayerNormalization")
def rms_norm(call: Call) -> Value:
    x, axis = call.value(0), call.attribute("axis", -1)
    axes = tuple(range(axis % x.first.ndim, x.first.ndim))
    return call.emit(root_mean_square, x, call.value(1), axes=axes, epsilon=call.attribute("epsilon", 1e-5))


def root_mean_square(x: Tensor, scale: Tensor, *, axes: tuple[int, ...], epsilon: float) -> Tensor:
    """Division by the root of the mean square."""
    return x * torch.rsqrt(x.square().mean(axes, keepdim=True) + epsilon) * scale


@operator("InstanceNormalization")
def instance_norm(call: Call) -> Value:
    x, scale, bias = call.value(0), call.value(1), call.value(2)
    epsilon = call.attribute("epsilon", 1e-5)
    plain = all(v.is_constant and bool((v.first == n).all()) for v, n in ((scale, 1), (bias, 0)))
    if plain:
        return call.emit(F.instance_norm, x, eps=epsilon)
    return call.emit(affine_instance_norm, x, scale, bias, epsilon=epsilon)


def affine_instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float) -> Tensor:
    """Each channel of each sample normalised alone."""
    return F.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


@operator("GroupNormalization")
def group_norm(call: Call) -> Value:
    x, scale, bias = call.value(0), call.value(1), call.value(2)
    groups, channels = call.attribute("num_groups", 1), x.first.shape[1]
    if groups < 1 or channels % groups or not (scale.is_constant and bias.is_constant):
        raise call.refuse(f"num_groups: {groups} is not allowed; a divisor of {channels} channels is needed")
    if call.opset < _PER_CHANNEL:
        scale, bias = (constant(v.first.repeat_interleave(channels // groups), v.origin) for v in (scale, bias))
    epsilon = call.attribute("epsilon", 1e-5)

    def make() -> nn.Module:
        norm = nn.GroupNorm(groups, channels, eps=epsilon, device="meta")
        norm.weight, norm.bias = (call.builder.parameter(v, v.first, "derived") for v in (scale, bias))
        return norm

    return call.layer(make, x, (groups, epsilon), (scale, bias))


@operator("LRN")
def lrn(call: Call) -> Value:
    size = call.attribute("size", 1)
    if size < 1:
        raise call.refuse(f"size: {size} is not allowed; a whole number from 1 is needed")
    return call.emit(
        local_response, call.value(0), size=size, alpha=call.attribute("alpha", 1e-4),
        beta=call.attribute("beta", 0.75), bias=call.attribute("bias", 1.0),
    )


def local_response(x: Tensor, *, size: int, alpha: float, beta: float, bias: float) -> Tensor:
    """Division by a power of the mean square of neighbouring channels (Krizhevsky et al. 2012)."""
    padded = F.pad(x.square().flatten(2).transpose(1, 2), ((size - 1) // 2, size // 2))
    means = F.avg_pool1d(padded, size, stride=1).transpose(1, 2).reshape(x.shape)
    return x / (bias + alpha * means) ** beta


@operator("LpNormalization")
def lp_normalization(call: Call) -> Value:
    return call.emit(F.normalize, call.value(0), p=float(call.attribute("p", 2)), dim=call.attribute("axis", -1))


@operator("MeanVarianceNormalization")
def mean_variance(call: Call) -> Value:
    return call.emit(standardized, call.value(0), axes=tuple(call.attribute("axes", [0, 2, 3])))


def standardized(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    """To mean 0 and deviation 1 along axes."""
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True).sqrt() + 1e-9)
