"""Lets torchvision import beside a torch build that its compiled operators do not fit.

A CPU-only torch beside the registry's torchvision fails at import (``operator torchvision::nms does not exist``),
because torchvision attaches Python code to operators that its extension library would have declared. Classification
models, transforms and datasets need none of them. Declaring the two schemas lets the import go on; with an ordinary
torch build the library has declared them already and nothing is done here.
"""

import importlib.util
from pathlib import Path

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_libraries: list[object] = []


def declare_missing_operators() -> list[str]:
    """Declare the schemas that are missing; returns their names (none with an ordinary build)."""
    import torch

    _load_extension()
    missing = [name for name in _SCHEMAS if not _declared(name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            library.define(_SCHEMAS[name])
        _libraries.append(library)  # the schemas live as long as the library object does
    return missing


def _declared(name: str) -> bool:
    import torch

    return torch._C._dispatch_has_kernel(f"torchvision::{name}") or bool(
        torch._C._jit_get_schemas_for_operator(f"torchvision::{name}")
    )


def _load_extension() -> None:
    """Load torchvision's extension library, which declares its operators, where it fits this torch build."""
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    for library in Path(spec.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
