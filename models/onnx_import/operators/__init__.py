"""One small function per ONNX operator."""

from importlib import import_module

from models.onnx_import.operators.registry import handler_of, is_known, known_operators, operator, why_not

__all__ = ["handler_of", "is_known", "known_operators", "operator", "why_not"]

for _name in ("elementwise", "layers", "attention", "normalization", "pooling", "reductions", "reshaping", "selecting",
              "shapes", "resizing"):
    import_module(f"{__name__}.{_name}")
