"""What fine-tuning must keep: pruned weights at zero, and weights on their grids and codebooks."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compression.grids import codebook_indices, decode_codebook, dequantize, quantize_to_grid
from compression.state import Codebook, Encoding, UniformGrid, state_of


@dataclass
class _Held:
    """One constrained parameter; `indices` are the fixed assignment to a codebook without scales."""

    name: str
    parameter: nn.Parameter
    encoding: Encoding | None
    mask: Tensor | None
    indices: Tensor | None


class Constraints:
    """Straight-through training: gradients are taken at the constrained values and applied to latent float ones.

    Args:
        model: Its `state_of` says what is constrained; scales and centroids are updated there.
    """

    def __init__(self, model: nn.Module) -> None:
        self._state = state_of(model)
        self._held = [
            _held(name, parameter, self._state.encodings.get(name), self._state.masks.get(name))
            for name, parameter in model.named_parameters()
            if name in self._state.encodings or name in self._state.masks
        ]
        self._latent: list[Tensor] = []

    def impose(self) -> None:
        """Put constrained values into the model and remember the latent ones."""
        self._latent = [held.parameter.data for held in self._held]
        for held in self._held:
            held.parameter.data = self._project(held)

    def release(self) -> None:
        """Put the latent values back, for the optimizer's step."""
        for held, latent in zip(self._held, self._latent, strict=True):
            held.parameter.data = latent

    def _project(self, held: _Held) -> Tensor:
        value = held.parameter.data if held.mask is None else held.parameter.data * held.mask
        encoding = held.encoding
        if isinstance(encoding, UniformGrid):
            return dequantize(quantize_to_grid(value, encoding), encoding)
        if isinstance(encoding, Codebook):
            encoding = _moved_codebook(value, encoding, held.indices)
            self._state.encodings[held.name] = held.encoding = encoding
            indices = held.indices if held.indices is not None else codebook_indices(value, encoding)
            return decode_codebook(indices, encoding)
        return value if encoding is None else value.to(getattr(torch, encoding.dtype)).float()


def _held(name: str, parameter: nn.Parameter, encoding: Encoding | None, mask: Tensor | None) -> _Held:
    shared = isinstance(encoding, Codebook) and encoding.scale is None
    indices = codebook_indices(parameter.detach(), encoding) if shared and isinstance(encoding, Codebook) else None
    return _Held(name, parameter, encoding, mask, indices)


def _moved_codebook(value: Tensor, codebook: Codebook, indices: Tensor | None) -> Codebook:
    """Centroids move to the mean of their latent weights (zero stays); scales per filter to the least-squares one."""
    if indices is not None:
        count = len(codebook.values)
        sums = torch.zeros(count).scatter_add_(0, indices.flatten(), value.flatten())
        sizes = torch.bincount(indices.flatten(), minlength=count)
        moved = torch.where((sizes > 0) & (codebook.values != 0), sums / sizes.clamp(min=1), codebook.values)
        return Codebook(moved)
    levels = codebook.values[codebook_indices(value, codebook)].flatten(1)
    fitted = (levels * value.flatten(1)).sum(1) / levels.square().sum(1).clamp(min=1e-12)
    return Codebook(codebook.values, fitted.clamp(min=1e-8))
