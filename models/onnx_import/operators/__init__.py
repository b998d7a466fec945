"""One small function per ONNX operator; importing this package registers all of them."""

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

__all__ = [
    "attention", "elementwise", "layers", "normalization", "pooling", "reductions", "reshaping", "resizing",
    "selecting", "shapes",
]
