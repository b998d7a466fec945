"""Softmax, and attention as one operator."""

import torch
import torch.nn.functional as F
from torch import Tensor

from models.onnx_import.builder import Call
from models.onnx_import.operator_registry import operator
from models.onnx_import.values import Value

_SOFTMAX = {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}
_PER_AXIS = 13


@operator(*_SOFTMAX)
def softmax(call: Call) -> Value:
    x, function = call.value(0), _SOFTMAX[call.node.operator]
    if call.opset >= _PER_AXIS:
        return call.emit(function, x, dim=call.attribute("axis", -1))
    axis = call.attribute("axis", 1) % max(1, x.first.ndim)
    if all(length == 1 for length in x.first.shape[axis + 1 :]) or axis == x.first.ndim - 1:
        return call.emit(function, x, dim=axis)
    return call.emit(softmax_of_rest, x, axis=axis, log=call.node.operator == "LogSoftmax")


def softmax_of_rest(x: Tensor, *, axis: int, log: bool) -> Tensor:
    """Over all axes from one on, as before opset 13."""
    flat = x.flatten(axis)
    return (flat.log_softmax(-1) if log else flat.softmax(-1)).reshape(x.shape)


@operator("Attention")
def attention(call: Call) -> Value:
    if call.has(4) or call.has(5) or len([name for name in call.node.outputs if name]) > 1:
        raise call.refuse("attention with a cache is not supported; without one it is")
    if call.attribute("softcap", 0.0) or call.attribute("qk_matmul_output_mode", 0):
        raise call.refuse("softcap and outputs of the scores are not supported")
    mask = [call.value(3)] if call.has(3) else []
    return call.emit(
        attend, call.value(0), call.value(1), call.value(2), *mask, causal=bool(call.attribute("is_causal", 0)),
        scale=call.attribute("scale"), heads=call.attribute("q_num_heads"), kv_heads=call.attribute("kv_num_heads"),
    )


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, *, causal: bool, scale: float | None,
    heads: int | None, kv_heads: int | None,
) -> Tensor:
    """Scaled dot-product attention of (N, H, T, D), or of (N, T, H D) with the number of heads."""
    joined = q.ndim == 3
    if joined:
        q = q.unflatten(-1, (heads, -1)).transpose(1, 2)
        k, v = (x.unflatten(-1, (kv_heads, -1)).transpose(1, 2) for x in (k, v))
    grouped = q.shape[1] != k.shape[1]
    mixed = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale, enable_gqa=grouped)
    return mixed.transpose(1, 2).flatten(2) if joined else mixed
