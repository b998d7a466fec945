"""Attention blocks with one linear layer per role, so that techniques see every layer and head.

torchvision's shifted windows, as `nn.MultiheadAttention`, hold the weights of query, key and value in one tensor and do
not call their layers, so that no layer could be observed, quantized or pruned. What these compute is the same, and
weights files of the originals load into them.
"""

import sys
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.architectures.multihead_attention import MultiheadAttention, rename, replaceable, split


class WindowAttention(nn.Module):
    """Attention within windows that may be shifted (Liu et al., arXiv 2103.14030).

    Args:
        width: Channels.
        heads: Number of heads.
        window: Height and width of a window.
        shift: Rows and columns by which the windows are shifted.
    """

    per_head = ("relative_position_bias_table",)

    def __init__(self, width: int, heads: int, window: tuple[int, int], shift: tuple[int, int]) -> None:
        super().__init__()
        self.head_dim, self.window, self.shift = width // heads, window, shift
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)
        offsets = (2 * window[0] - 1) * (2 * window[1] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", _relative_positions(window))

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to the same shape."""
        _, height, width, _ = x.shape
        rows, columns = self.window
        missing = (-height % rows, -width % columns)
        x = F.pad(x, (0, 0, 0, missing[1], 0, missing[0])) if any(missing) else x
        size = (x.shape[1], x.shape[2])
        shift = tuple(0 if w >= s else own for own, w, s in zip(self.shift, self.window, size, strict=True))
        x = torch.roll(x, (-shift[0], -shift[1]), (1, 2)) if any(shift) else x
        grid = (size[0] // rows, size[1] // columns)
        tokens = x.unflatten(2, (grid[1], columns)).unflatten(1, (grid[0], rows)).transpose(2, 3)
        mixed = self._attend(tokens.flatten(3, 4).flatten(1, 2), size, shift)
        x = mixed.unflatten(2, self.window).unflatten(1, grid).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        x = torch.roll(x, shift, (1, 2)) if any(shift) else x
        return x[:, :height, :width] if any(missing) else x

    def _attend(self, tokens: Tensor, size: tuple[int, int], shift: tuple[int, ...]) -> Tensor:
        """(N, windows, tokens, C); tokens of one window see each other unless they come from different sides."""
        q, k, v = (self._heads(layer(tokens)) for layer in (self.query, self.key, self.value))
        length = tokens.shape[2]
        bias = F.embedding(self.relative_position_index.view(length, length), self.relative_position_bias_table)
        scores = (q * self.head_dim**-0.5) @ k.transpose(-2, -1) + bias.permute(2, 0, 1)
        if any(shift):
            sides = torch.tensor(_sides(size, self.window, shift), device=scores.device)
            apart = sides[:, None] != sides[:, :, None]
            scores = scores + (apart.float() * -100.0).unsqueeze(1)
        return self.output((scores.softmax(-1) @ v).transpose(2, 3).flatten(3))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim)).transpose(2, 3)

    def adapt_state(self, state: dict[str, Tensor], prefix: str) -> None:
        """Split the tensors of torchvision's module, in place."""
        for kind in ("weight", "bias"):
            split(state, f"{prefix}qkv.{kind}", prefix, kind)
            rename(state, f"{prefix}proj.{kind}", f"{prefix}output.{kind}")


def _relative_positions(window: tuple[int, int]) -> Tensor:
    """Row of the bias table for each pair of tokens of a window, int64 (tokens * tokens,)."""
    places = torch.cartesian_prod(*(torch.arange(length) for length in window))
    offsets = places[:, None] - places[None] + torch.tensor(window) - 1
    return (offsets[..., 0] * (2 * window[1] - 1) + offsets[..., 1]).flatten()


@lru_cache(maxsize=32)
def _sides(size: tuple[int, int], window: tuple[int, int], shift: tuple[int, ...]) -> list[list[int]]:
    """Which part of the unshifted image each token is from, (windows, tokens)."""
    parts = []
    for length, own, moved in zip(size, window, shift, strict=True):
        place = np.arange(length)
        parts.append((place >= length - own) * 1 + (place >= length - moved) if moved else place * 0)
    sides = parts[0][:, None] * 3 + parts[1][None]
    rows, columns = (length // own for length, own in zip(size, window, strict=True))
    return sides.reshape(rows, window[0], columns, window[1]).swapaxes(1, 2).reshape(rows * columns, -1).tolist()


def separate_roles(model: nn.Module) -> nn.Module:
    """Replace PyTorch's and torchvision's attention modules, in place, weights included; returns the model.

    Subclasses with another forward pass, and attention with biases added to keys and values, stay as they are.
    """
    windows = _window_class()
    for fqn, module in list(model.named_modules()):
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = module.enable_nested_tensor = False
        if replaceable(module):
            _replace(model, fqn, MultiheadAttention(module))
        elif windows is not None and type(module) is windows:
            window, shift = tuple(module.window_size), tuple(module.shift_size)
            own = WindowAttention(module.qkv.in_features, module.num_heads, window, shift)
            state = module.state_dict()
            own.adapt_state(state, "")
            own.load_state_dict(state, assign=True)
            _replace(model, fqn, own)
        elif isinstance(module, nn.MultiheadAttention):
            torch.backends.mha.set_fastpath_enabled(False)
    return model


def _window_class() -> type[nn.Module] | None:
    """torchvision's shifted windows; a model that was built from them has imported their module."""
    module = sys.modules.get("torchvision.models.swin_transformer")
    return getattr(module, "ShiftedWindowAttention", None)


def _replace(model: nn.Module, fqn: str, own: nn.Module) -> None:
    """Every place of a module, if it is used in several."""
    old = model.get_submodule(fqn)
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            model.set_submodule(name, own)
