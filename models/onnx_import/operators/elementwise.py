"""Operators that act on every value alone."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor

from models.onnx_import.builder import Call
from models.onnx_import.operator_registry import operator
from models.onnx_import.values import Value

_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs, "Neg": torch.neg, "Exp": torch.exp, "Log": torch.log, "Sqrt": torch.sqrt, "Sin": torch.sin,
    "Cos": torch.cos, "Tan": torch.tan, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "Erf": torch.erf,
    "Floor": torch.floor, "Ceil": torch.ceil, "Round": torch.round, "Sign": torch.sign,
    "Reciprocal": torch.reciprocal, "Relu": torch.relu, "Not": torch.logical_not, "Softsign": F.softsign,
    "Softplus": F.softplus, "Mish": F.mish, "HardSwish": F.hardswish, "Atan": torch.atan, "IsNaN": torch.isnan,
    "Asin": torch.asin, "Acos": torch.acos, "Sinh": torch.sinh, "Cosh": torch.cosh, "Silu": F.silu,
}


def add(a: Any, b: Any) -> Any:
    """Sum."""
    return a + b


def subtract(a: Any, b: Any) -> Any:
    """Difference."""
    return a - b


def multiply(a: Any, b: Any) -> Any:
    """Product."""
    return a * b


def divide(a: Any, b: Any) -> Any:
    """Quotient; of whole numbers rounded towards zero."""
    if all(isinstance(x, int) or (isinstance(x, Tensor) and not x.is_floating_point()) for x in (a, b)):
        a = a if isinstance(a, Tensor) else torch.full_like(b, a)
        return torch.div(a, b, rounding_mode="trunc")
    return a / b


def power(a: Any, b: Any) -> Any:
    """Power, in the type of the base."""
    result = a**b
    return result.to(a.dtype) if isinstance(a, Tensor) and result.dtype != a.dtype else result


def modulo(a: Any, b: Any, *, like_c: bool) -> Any:
    """Remainder with the sign of the divisor, or of the dividend as in C."""
    return torch.fmod(a, b) if like_c else a % b


def compare(a: Any, b: Any, *, how: str) -> Any:
    """One of Python's comparisons."""
    return getattr(torch, how)(a, b) if isinstance(a, Tensor) else getattr(torch, _MIRRORED[how])(b, a)


_MIRRORED = {"eq": "eq", "gt": "lt", "lt": "gt", "ge": "le", "le": "ge"}


def smallest(a: Any, b: Any) -> Any:
    """The smaller of two."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.minimum(a, b)
    return torch.clamp(a, max=b) if isinstance(a, Tensor) else torch.clamp(b, max=a)


def largest(a: Any, b: Any) -> Any:
    """The larger of two."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.maximum(a, b)
    return torch.clamp(a, min=b) if isinstance(a, Tensor) else torch.clamp(b, min=a)


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": add, "Sub": subtract, "Mul": multiply, "Div": divide, "Pow": power,
    **{name: partial(compare, how=how) for name, how in (
        ("Equal", "eq"), ("Greater", "gt"), ("Less", "lt"), ("GreaterOrEqual", "ge"), ("LessOrEqual", "le"),
    )},
}
_LOGICAL = {"And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor}
_FOLDED = {"Min": smallest, "Max": largest, "Sum": add}


@operator(*_UNARY)
def unary(call: Call) -> Value:
    return call.emit(_UNARY[call.node.operator], call.value(0))


@operator(*_BINARY)
def binary(call: Call) -> Value:
    return call.emit(_BINARY[call.node.operator], call.value(0), call.value(1), scalars=True)


@operator(*_LOGICAL)
def logical(call: Call) -> Value:
    return call.emit(_LOGICAL[call.node.operator], call.value(0), call.value(1))


@operator(*_FOLDED)
def folded(call: Call) -> Value:
    emit = partial(call.emit, _FOLDED[call.node.operator], scalars=True)
    return reduce(emit, call.values())


@operator("Mean")
def mean(call: Call) -> Value:
    total = reduce(partial(call.emit, add, scalars=True), call.values())
    return call.emit(divide_by, total, by=float(len(call.values())))


def divide_by(x: Tensor, *, by: float) -> Tensor:
    """Quotient by a number."""
    return x / by


@operator("Mod")
def mod(call: Call) -> Value:
    return call.emit(modulo, call.value(0), call.value(1), scalars=True, like_c=bool(call.attribute("fmod", 0)))


@operator("Where")
def where(call: Call) -> Value:
    return call.emit(torch.where, call.value(0), call.value(1), call.value(2))


@operator("Clip")
def clip(call: Call) -> Value:
    low, high = call.scalar(1, None), call.scalar(2, None)
    if low is None and high is None:
        return call.value(0)
    if (low, high) == (0.0, 6.0):
        return call.emit(F.relu6, call.value(0))
    return call.emit(torch.clamp, call.value(0), min=low, max=high)


@operator("LeakyRelu")
def leaky_relu(call: Call) -> Value:
    return call.emit(F.leaky_relu, call.value(0), negative_slope=call.attribute("alpha", 0.01))


@operator("Elu")
def elu(call: Call) -> Value:
    return call.emit(F.elu, call.value(0), alpha=call.attribute("alpha", 1.0))


@operator("Celu")
def celu(call: Call) -> Value:
    return call.emit(F.celu, call.value(0), alpha=call.attribute("alpha", 1.0))


@operator("Selu")
def selu(call: Call) -> Value:
    alpha = call.attribute("alpha", 1.6732632423543772)
    return call.emit(scaled_elu, call.value(0), alpha=alpha, gamma=call.attribute("gamma", 1.0507009873554805))


def scaled_elu(x: Tensor, *, alpha: float, gamma: float) -> Tensor:
    """ELU with a factor."""
    return gamma * F.elu(x, alpha)


@operator("ThresholdedRelu")
def thresholded(call: Call) -> Value:
    return call.emit(F.threshold, call.value(0), threshold=call.attribute("alpha", 1.0), value=0.0)


@operator("HardSigmoid")
def hard_sigmoid(call: Call) -> Value:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return call.emit(F.hardsigmoid, call.value(0))
    return call.emit(linear_sigmoid, call.value(0), alpha=alpha, beta=beta)


def linear_sigmoid(x: Tensor, *, alpha: float, beta: float) -> Tensor:
    """A clipped line."""
    return torch.clamp(alpha * x + beta, 0.0, 1.0)


@operator("Gelu")
def gelu(call: Call) -> Value:
    return call.emit(F.gelu, call.value(0), approximate=call.attribute("approximate", "none"))


@operator("Swish")
def swish(call: Call) -> Value:
    alpha = call.attribute("alpha", 1.0)
    return call.emit(F.silu, call.value(0)) if alpha == 1.0 else call.emit(scaled_silu, call.value(0), alpha=alpha)


def scaled_silu(x: Tensor, *, alpha: float) -> Tensor:
    """SiLU with a factor inside."""
    return x * torch.sigmoid(alpha * x)


@operator("PRelu")
def prelu(call: Call) -> Value:
    return call.emit(sloped, call.value(0), call.value(1), scalars=True)


def sloped(x: Tensor, slope: Any) -> Tensor:
    """A line of another slope below zero."""
    return torch.where(x < 0, slope * x, x)


@operator("Cast")
def cast(call: Call) -> Value:
    kinds = {
        TensorProto.FLOAT: torch.float32, TensorProto.INT64: torch.int64, TensorProto.INT32: torch.int32,
        TensorProto.BOOL: torch.bool, TensorProto.UINT8: torch.uint8, TensorProto.INT8: torch.int8,
        TensorProto.INT16: torch.int16,
    }
    kind = kinds.get(call.attribute("to"))
    if kind is None:
        names = ", ".join(str(helper.tensor_dtype_to_np_dtype(number)) for number in kinds)
        raise call.refuse(f"it casts to the type {call.attribute('to')!r}; allowed: {names}")
    return _cast(call, kind)


@operator("CastLike")
def cast_like(call: Call) -> Value:
    return _cast(call, call.value(1).first.dtype)


def _cast(call: Call, kind: torch.dtype) -> Value:
    value = call.value(0)
    return value if value.first.dtype == kind else call.emit(Tensor.to, value, dtype=kind)


@operator("Identity")
def identity(call: Call) -> Value:
    return call.value(0)


@operator("Dropout")
def dropout(call: Call) -> Value:
    if call.scalar(2, False):
        raise call.refuse("it is in training mode; an exported inference graph is needed")
    return call.value(0)
