"""Convolutions of timm that are PyTorch's but for what surrounds them: their padding, or how their weight is made.

TensorFlow's SAME padding depends on the size of the input and may be uneven; it is added in front of a plain
convolution. A standardized weight does not depend on the input and is baked. Only listed classes are taken: what
another forward pass computes for every input cannot be seen from running it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PADDED = frozenset({"timm.layers.conv2d_same.Conv2dSame", "timm.layers.conv2d_same.Conv2dSameExport"})
_STANDARDIZED = frozenset(
    f"timm.layers.std_conv.{name}" for name in ("StdConv2d", "StdConv2dSame", "ScaledStdConv2d", "ScaledStdConv2dSame")
)
STANDARDIZED = "weight standardization"


class SamePadding:
    """A forward hook that pads an image as TensorFlow's SAME does: ``ceil(size / stride)`` outputs, more at the end.

    Args:
        layer: The convolution; whatever takes its place gets the same padding.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        sizes = zip(layer.dilation, layer.kernel_size, strict=True)
        self.reach, self.stride = tuple(dilation * (length - 1) + 1 for dilation, length in sizes), layer.stride

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Pad the input (N, C, H, W)."""
        x = args[0]
        padding: list[int] = []
        for axis in (1, 0):  # F.pad takes the last axis first
            size, stride = x.shape[2 + axis], self.stride[axis]
            missing = max((-(-size // stride) - 1) * stride + self.reach[axis] - size, 0)
            padding += [missing // 2, missing - missing // 2]
        return (F.pad(x, padding), *args[1:]) if any(padding) else args


def pad_in_front(module: nn.Module) -> None:
    """Make a convolution of SAME padding a plain one behind its padding, in place."""
    if _name(module) in _PADDED:
        _make_plain(module, same=True)


def is_standardized(module: nn.Module) -> bool:
    """Whether a module is a convolution that standardizes its weight."""
    return _name(module) in _STANDARDIZED


@torch.no_grad()
def bake_standardized(module: nn.Module) -> None:
    """Make a convolution of a standardized weight (arXiv 1903.10520, 2101.08692) a plain one, in place."""
    weight: Tensor = module.weight
    gain = module._parameters.pop("gain", None)
    scale = None if gain is None else (gain * module.scale).flatten()
    rows = F.batch_norm(weight.reshape(1, len(weight), -1), None, None, scale, None, True, 0.0, module.eps)
    module.weight = nn.Parameter(rows.reshape_as(weight).contiguous())
    _make_plain(module, same=bool(getattr(module, "same_pad", False)))


def _name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _make_plain(module: nn.Module, same: bool) -> None:
    module.__class__ = nn.Conv2d
    if same:
        module.same_padding = True  # for whoever compares architectures by their settings
        module.register_forward_pre_hook(SamePadding(module))
