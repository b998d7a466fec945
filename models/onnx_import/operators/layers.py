"""Convolutions, linear layers and embeddings: with constant weights they become PyTorch's layers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.onnx_import.builder import Call
from models.onnx_import.graph import Node
from models.onnx_import.operator_registry import operator
from models.onnx_import.operators.padding import conv_padding, pad
from models.onnx_import.operators.reshaping import swap_last
from models.onnx_import.values import Value

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FUNCTIONAL = (F.conv1d, F.conv2d, F.conv3d)


def _window(call: Call, weight: Tensor) -> tuple[int, dict[str, Any]]:
    """Number of spatial axes, and the settings that all convolutions have."""
    rank = weight.ndim - 2
    if not 1 <= rank <= 3:
        raise call.refuse(f"its weight has {weight.ndim} axes; 3 to 5 are allowed")
    settings = {
        "stride": tuple(call.numbers("strides", None, [1] * rank) or ()),
        "dilation": tuple(call.numbers("dilations", None, [1] * rank) or ()),
        "groups": call.attribute("group", 1),
    }
    fine = all(len(v) == rank and min(v) >= 1 for v in (settings["stride"], settings["dilation"]))
    if not fine or settings["groups"] < 1 or weight.shape[0] % settings["groups"]:
        raise call.refuse(f"strides, dilations and group {settings['groups']} do not belong to its weight")
    return rank, settings


@operator("Conv")
def conv(call: Call) -> Value:
    x, weight = call.value(0), call.value(1)
    rank, settings = _window(call, weight.first)
    kernel = tuple(weight.first.shape[2:])
    if call.attribute("kernel_shape") is not None and tuple(call.attribute("kernel_shape")) != kernel:
        raise call.refuse(f"kernel_shape {call.attribute('kernel_shape')} is not that of its weight, {list(kernel)}")
    begins, ends = conv_padding(call, x.first.shape[2:], kernel, settings["stride"], settings["dilation"])
    if begins != ends:
        x = call.emit(pad, x, begins=(0, 0, *begins), ends=(0, 0, *ends), mode="constant", value=0.0)
        begins = (0,) * rank
    bias = call.value(2) if call.has(2) else None
    reader = None
    if bias is None:
        bias, reader = _bias_behind(call, weight.first.shape[0], rank)
    if not weight.is_constant or (bias is not None and not bias.is_constant):
        more = [bias] if bias is not None else []
        return call.emit(_FUNCTIONAL[rank - 1], x, weight, *more, padding=begins, **settings)

    def make() -> nn.Module:
        groups, own = settings["groups"], weight.first
        layer = _CONVOLUTIONS[rank - 1](
            own.shape[1] * groups, own.shape[0], kernel, padding=begins, bias=False, device="meta", **settings
        )
        return _with_tensors(call, layer, weight, own, "same", bias)

    key = (begins, *settings.values(), reader is not None)
    return call.layer(make, x, key, (weight, bias), reader)


def _bias_behind(call: Call, channels: int, rank: int) -> tuple[Value | None, Node | None]:
    """A constant per channel that the only reader adds."""
    reader = call.sole_reader()
    if reader is None or reader.operator != "Add":
        return None, None
    others = [name for name in reader.inputs if name != call.node.outputs[0]]
    value = call.builder.values.get(others[0]) if len(others) == 1 else None
    shapes = [(1, channels, *[1] * rank), (channels, *[1] * rank)] if rank else [(channels,), (1, channels)]
    if value is None or not value.is_constant or tuple(value.first.shape) not in shapes:
        return None, None
    return value, reader


def _with_tensors(
    call: Call, layer: nn.Module, weight: Value, tensor: Tensor, view: str, bias: Value | None
) -> nn.Module:
    layer.weight = call.builder.parameter(weight, tensor, view)
    if bias is not None:
        flat = bias.first.reshape(-1)
        layer.bias = call.builder.parameter(bias, flat, "same" if bias.first.ndim == 1 else "derived")
    return layer.eval()


@operator("ConvTranspose")
def conv_transpose(call: Call) -> Value:
    x, weight, bias = call.value(0), call.value(1), call.value(2) if call.has(2) else None
    rank, settings = _window(call, weight.first)
    if not weight.is_constant or (bias is not None and not bias.is_constant):
        raise call.refuse("its weights must be constants")
    kernel, extra = tuple(weight.first.shape[2:]), tuple(call.attribute("output_padding", [0] * rank))
    full = [
        s * (n - 1) + e + d * (k - 1) + 1 for s, n, e, d, k in
        zip(settings["stride"], x.first.shape[2:], extra, settings["dilation"], kernel, strict=True)
    ]
    begins, ends = _transposed_padding(call, full, x.first.shape[2:], settings["stride"])
    crop = begins != ends or any(b < 0 for b in begins)

    def make() -> nn.Module:
        own, groups = weight.first, settings["groups"]
        layer = _TRANSPOSED[rank - 1](
            own.shape[0], own.shape[1] * groups, kernel, padding=0 if crop else begins, output_padding=extra,
            bias=False, device="meta", **settings,
        )
        return _with_tensors(call, layer, weight, own, "same", bias)

    result = call.layer(make, x, (begins, ends, extra, *settings.values()), (weight, bias))
    if not crop:
        return result
    negative = tuple(-b for b in begins), tuple(-e for e in ends)
    return call.emit(pad, result, begins=(0, 0, *negative[0]), ends=(0, 0, *negative[1]), mode="constant", value=0.0)


def _transposed_padding(
    call: Call, full: list[int], sizes: Any, strides: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What is cut from each side of the unpadded result."""
    kind, rank = call.attribute("auto_pad", "NOTSET"), len(full)
    wanted = call.attribute("output_shape")
    if wanted is None and kind in ("NOTSET", "VALID"):
        pads = call.attribute("pads", [0] * 2 * rank)
        return tuple(pads[:rank]), tuple(pads[rank:])
    wanted = wanted[-rank:] if wanted is not None else [n * s for n, s in zip(sizes, strides, strict=True)]
    totals = [length - want for length, want in zip(full, wanted, strict=True)]
    small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    return (large, small) if kind != "SAME_UPPER" else (small, large)


@operator("Gemm")
def gemm(call: Call) -> Value:
    x, weight = call.value(0), call.value(1)
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    if call.attribute("transA", 0):
        x = call.emit(swap_last, x)
    transposed = bool(call.attribute("transB", 0))
    bias = call.value(2) if call.has(2) else None
    outputs = weight.first.shape[0 if transposed else 1]
    flat = bias is None or (bias.is_constant and tuple(bias.first.shape) in ((outputs,), (1, outputs)))
    if not x.is_activation or not weight.is_constant or not flat or (alpha, beta) != (1.0, 1.0):
        return _loose_gemm(call, x, weight, bias, transposed, alpha, beta)
    return _linear(call, x, weight, transposed, bias, None)


def _loose_gemm(
    call: Call, x: Value, weight: Value, bias: Value | None, transposed: bool, alpha: float, beta: float
) -> Value:
    if transposed:
        weight = call.emit(swap_last, weight)
    more = () if bias is None else (bias,)
    return call.emit(weighted_product, x, weight, *more, alpha=alpha, beta=beta)


def weighted_product(x: Tensor, y: Tensor, c: Tensor | None = None, *, alpha: float, beta: float) -> Tensor:
    """``alpha x y + beta c``."""
    product = alpha * (x @ y)
    return product if c is None else product + beta * c


@operator("MatMul")
def matmul(call: Call) -> Value:
    x, weight = call.value(0), call.value(1)
    matrix = weight.is_constant and weight.first.ndim >= 2 and max([1, *weight.first.shape[:-2]]) == 1
    if not x.is_activation or not matrix or x.first.ndim < max(2, weight.first.ndim):
        return call.emit(torch.matmul, x, weight)
    bias, reader = _bias_behind(call, weight.first.shape[-1], 0)
    return _linear(call, x, weight, False, bias, reader)


def _linear(
    call: Call, x: Value, weight: Value, transposed: bool, bias: Value | None, reader: Node | None
) -> Value:
    def make() -> nn.Module:
        plain = weight.first.reshape(weight.first.shape[-2:])
        own = plain if transposed else plain.t()
        layer = nn.Linear(own.shape[1], own.shape[0], bias=False, device="meta")
        view = "derived" if weight.first.ndim > 2 else "same" if transposed else "transposed"
        return _with_tensors(call, layer, weight, own, view, bias)

    return call.layer(make, x, (transposed,), (weight, bias), reader)


def embedding(call: Call, table: Value, indices: Value) -> Value:
    """Rows of a constant table by whole numbers that are given."""
    def make() -> nn.Module:
        rows, width = table.first.shape
        layer = nn.Embedding(rows, width, _weight=torch.empty(0).new_empty((rows, width), device="meta"))
        return _with_tensors(call, layer, table, table.first, "same", None)

    return call.layer(make, indices, (), (table,))


@operator("Einsum")
def einsum(call: Call) -> Value:
    equation = call.attribute("equation", "").replace(" ", "")
    return call.emit(einstein_sum, *call.values(), equation=equation)


def einstein_sum(*operands: Tensor, equation: str) -> Tensor:
    """`torch.einsum` with the equation as a named argument."""
    return torch.einsum(equation, *operands)
