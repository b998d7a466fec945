"""One small function per ONNX operator."""

from models.onnx_import.operators import (
    attention,
    elementwise,
    layers,
    normalization,
    pooling,
    reductions,
    reshaping,
    resizing,
    selecting,
    shapes,
)
from models.onnx_import.operators.registry import handler_of, is_known, known_operators, operator, why_not

__all__ = [
    "attention", "elementwise", "handler_of", "is_known", "known_operators", "layers", "normalization", "operator",
    "pooling", "reductions", "reshaping", "resizing", "selecting", "shapes", "why_not",
]
