"""Layers joined in a way that lets a factor move from one to the other without a change of what is computed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from compression.structure.dataflow import Dataflow, Operation

_LAYERS = ("conv2d", "linear")
_POINTWISE = frozenset({"relu", "relu_", "leaky_relu", "leaky_relu_", "dropout", "contiguous"})
_SPATIAL = frozenset({"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"})
_HEIGHT_WIDTH = {2, 3, -1, -2}


@dataclass(frozen=True)
class Link:
    """Two layers with nothing but a batch norm and positive-homogeneous functions between them.

    Attributes:
        producer: fqn of the layer in front.
        norm: fqn of the batch norm behind it, or None.
        consumer: fqn of the layer that alone reads the result.
    """

    producer: str
    norm: str | None
    consumer: str


def find_links(flow: Dataflow) -> list[Link]:
    """Links between layers that each run once. ReLU6, GELU and the like are not homogeneous and end a chain."""
    once = dict(flow.once())
    return [
        link for fqn, operation in once.items()
        if operation.name in _LAYERS and (link := _follow(fqn, operation, flow, once)) is not None
    ]


def _follow(fqn: str, first: Operation, flow: Dataflow, once: dict[str, Operation]) -> Link | None:
    norm, operation = None, flow.reader(first)
    while operation is not None:
        if operation.name in _LAYERS:
            known = operation.module is not None and operation.module in once
            return Link(fqn, norm, operation.module) if known else None
        if operation.name == "batch_norm" and norm is None and operation.module in once:
            norm = operation.module
        elif not _is_homogeneous(operation, of_images=first.name == "conv2d"):
            return None
        operation = flow.reader(operation)
    return None


def _is_homogeneous(operation: Operation, of_images: bool) -> bool:
    """Whether a positive factor of a channel passes through; of images (N, C, H, W) channels are the second axis."""
    if operation.name in _POINTWISE:
        return True
    if not of_images:
        return False
    if operation.name == "mean":
        return _axes(operation.settings) <= _HEIGHT_WIDTH
    if operation.name == "flatten":
        return operation.settings[:1] == (1,)
    return operation.name in _SPATIAL


def _axes(settings: tuple[Any, ...]) -> set[Any]:
    """Axes of a mean; all of them where none are named."""
    named = settings[0] if settings and not isinstance(settings[0], bool) else None
    return set(named) if isinstance(named, list | tuple) else {named}


def normed_layers(flow: Dataflow) -> dict[str, str]:
    """Layers whose output is read by one batch norm alone, ``layer -> batch norm``."""
    once = dict(flow.once())
    found = {}
    for fqn, operation in once.items():
        reader = flow.reader(operation) if operation.name in _LAYERS else None
        if reader is not None and reader.name == "batch_norm" and reader.module in once:
            found[fqn] = reader.module
    return found


def layer_norm_readers(flow: Dataflow) -> Iterator[tuple[str, list[str]]]:
    """Layer norms that linear layers alone read, each with these layers."""
    once = dict(flow.once())
    for fqn, operation in once.items():
        readers = flow.readers(operation) if operation.name == "layer_norm" else []
        if readers and all(r.name == "linear" and r.module in once for r in readers):
            yield fqn, [r.module for r in readers if r.module is not None]
