"""Packed weights: what a compressed model takes on disk, read back bit by bit."""

from compression.artifact.packing.model import (
    ActivationGrid,
    PackedModel,
    PackReport,
    load_packed,
    model_tensors,
    pack_model,
    unpack_model,
)

__all__ = ["ActivationGrid", "PackReport", "PackedModel", "load_packed", "model_tensors", "pack_model", "unpack_model"]
