"""What is known of each value of a graph while its network is built.

The network is built for every batch size at once. What that means for a value is seen by trying a few sizes: of an
activation only the shapes are tried, on PyTorch's meta device, so that nothing is computed and no memory is taken;
whatever depends on nothing but constants and shapes is computed.
"""

from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor

from models.onnx_import.network import Extent, Length


class Kind(Enum):
    """What a value depends on."""

    CONSTANT = "constant"
    BATCH = "batch"
    ACTIVATION = "activation"


@dataclass(frozen=True)
class Origin:
    """The initializer that a constant comes from.

    Attributes:
        name: Its name.
        view: "same", "transposed" (a matrix), or "derived" where other values are computed from it.
    """

    name: str
    view: str = "same"

    def transposed(self) -> "Origin":
        """That of the transposed matrix."""
        return replace(self, view={"same": "transposed", "transposed": "same"}.get(self.view, "derived"))

    def derived(self) -> "Origin":
        """That of values computed from it."""
        return replace(self, view="derived")


@dataclass(frozen=True)
class Value:
    """A value, at each batch size that is tried.

    Attributes:
        kind: What it depends on.
        probes: Itself at each batch size; on the meta device of activations. Of a constant, a single one.
        name: Its name in the network's steps; "" of what is no activation.
        origin: Of constants.
    """

    kind: Kind
    probes: tuple[Tensor, ...]
    name: str = ""
    origin: Origin | None = None

    @property
    def first(self) -> Tensor:
        """Itself at the first batch size."""
        return self.probes[0]

    @property
    def is_constant(self) -> bool:
        """Whether it is the same whatever is given."""
        return self.kind is Kind.CONSTANT

    @property
    def is_activation(self) -> bool:
        """Whether it depends on what is given."""
        return self.kind is Kind.ACTIVATION

    def at(self, probe: int) -> Tensor:
        """Itself at one of the batch sizes."""
        return self.probes[0] if len(self.probes) == 1 else self.probes[probe]


def constant(tensor: Tensor, origin: Origin | None = None) -> Value:
    """A value that is always the same."""
    return Value(Kind.CONSTANT, (tensor,), origin=origin)


def of_batch(probes: tuple[Tensor, ...], origin: Origin | None = None) -> Value:
    """A value that depends on the batch size only; a constant where it does not even on that."""
    first = probes[0]
    if all(p.shape == first.shape and torch.equal(p, first) for p in probes):
        return constant(first, origin)
    return Value(Kind.BATCH, probes, origin=origin)


def length_of(lengths: tuple[int, ...], batches: tuple[int, ...]) -> Length | None:
    """A length, by what it is at each batch size; None where it does not follow the batch linearly."""
    if len(set(lengths)) == 1:
        return lengths[0]
    multiple, rest = divmod(lengths[1] - lengths[0], batches[1] - batches[0])
    extent = Extent(multiple, lengths[0] - multiple * batches[0])
    fits = not rest and all(extent.at(b) == length for b, length in zip(batches, lengths, strict=True))
    return extent if fits else None


def lengths_of(shapes: tuple[tuple[int, ...], ...], batches: tuple[int, ...]) -> list[Length] | None:
    """Lengths of all axes, by the shapes at each batch size; None where one does not follow the batch."""
    if len({len(shape) for shape in shapes}) != 1:
        return None
    found = [length_of(axis, batches) for axis in zip(*shapes, strict=True)]
    return None if any(length is None for length in found) else [length for length in found if length is not None]


def batch_axis(value: Value, batches: tuple[int, ...]) -> int | None:
    """The only axis whose length is a multiple of the batch, all others being fixed; None where there is no such."""
    lengths = lengths_of(tuple(tuple(p.shape) for p in value.probes), batches)
    moving = [axis for axis, length in enumerate(lengths or ()) if isinstance(length, Extent)]
    if lengths is None or len(moving) != 1:
        return None
    length = lengths[moving[0]]
    return moving[0] if isinstance(length, Extent) and length.offset == 0 else None
