"""Whole models to packed files and back."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compression.artifact.packing.container import FIELD, read_container, write_container
from compression.artifact.packing.streams import StreamWriter, read_streams
from compression.artifact.packing.tensors import (
    PoolReader,
    Pools,
    Record,
    dtype_name,
    holds,
    read_planes,
    read_tensor,
    same_values,
    without_negative_zeros,
    write_tensor,
)
from compression.core.errors import InputError
from compression.grids import encoding_label
from compression.state import ActivationQuantization, Encoding, state_of

ActivationGrid = tuple[float, int, int]
_LARGEST = 2**28
_ALWAYS_ALLOWED = 2**24
_VALUES_PER_BYTE = 2**10
_DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)
_UNPACKED = ("num_batches_tracked",)


@dataclass(frozen=True)
class PackReport:
    """What a packed file holds.

    Attributes:
        size_bytes: The whole file: header, tables, symbols, scales, checksum.
        bytes_by_tensor: Bytes of each tensor's symbols and values (the header is not in it).
        encoding_by_tensor: How each is stored, for people.
        notes: Claims that did not hold.
    """

    size_bytes: int
    bytes_by_tensor: dict[str, int]
    encoding_by_tensor: dict[str, str]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PackedModel:
    """What was read from a packed file.

    Attributes:
        tensors: float32 parameters and buffers by name; tied ones under each name.
        encodings: Value sets of encoded parameters.
        activations: Activation quantization of the graph, or None.
        activation_grids: ``ONNX value -> (scale, zero point, bits)``.
        compute_dtype: "float16" when the graph computes in 16 bits, "int8" when its linear layers multiply in integers.
        shared: ``parameter -> parameter it is stored as``.
    """

    tensors: dict[str, Tensor]
    encodings: dict[str, Encoding]
    activations: ActivationQuantization | None
    activation_grids: dict[str, ActivationGrid]
    compute_dtype: str | None
    shared: dict[str, str]


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers that belong into a packed file, tied ones under each name."""
    names = set(model.state_dict())
    found = dict(model.named_parameters(remove_duplicate=False))
    found.update(model.named_buffers(remove_duplicate=False))
    return {n: t.detach() for n, t in found.items() if n in names and not n.endswith(_UNPACKED)}


def pack_model(
    model: nn.Module, path: Path, *, activation_grids: dict[str, ActivationGrid] | None = None
) -> PackReport:
    """Write a model's weights: encoded tensors as symbols with their tables and scales, the rest losslessly.

    Every claim of `state_of(model)` is checked against the values; one that does not hold is noted and the tensor
    stored as float32. Values are kept bit by bit, but for negative zeros in pruned or encoded tensors.

    Args:
        model: The compressed model.
        path: File to write.
        activation_grids: Stored as they are.
    """
    state, writer, pools, notes = state_of(model), StreamWriter(), Pools(), []
    records: list[Record] = []
    labels: dict[str, str] = {}
    first: dict[tuple[int, ...], str] = {}
    tensors = model_tensors(model)
    for name in sorted(tensors, key=state.shared.__contains__):
        value = tensors[name]
        identity = (value.data_ptr(), *value.shape, *value.stride())
        stored = state.shared.get(name) or first.get(identity)
        if stored is not None and stored in labels and same_values(tensors[stored], value):
            records.append({"n": name, "k": "=", "o": stored})
            labels[name] = "shared"
            continue
        if name in state.shared:
            notes.append(f"{name}: it differs from {state.shared[name]}, as which it claims to be stored.")
        encoding = state.encodings.get(name)
        if encoding is not None and not holds(value, encoding):
            notes.append(f"{name}: its values are not on the {encoding_label(encoding)} they claim; stored as float32.")
            encoding = None
        if value.numel():
            first[identity] = name
        if name in state.masks and value.is_floating_point():
            value = without_negative_zeros(value)
        labels[name] = encoding_label(encoding) if encoding or value.is_floating_point() else dtype_name(value)
        records.append({"n": name, **write_tensor(writer, pools, value, encoding)})
    pooled = pools.write(writer)
    descriptors, tables, payloads = writer.finish()
    header: dict[str, Any] = {
        "tensors": records, "pools": pooled, "streams": descriptors, "tables": tables,
        "grids": [
            [k, float(np.float32(scale)), zero, bits] for k, (scale, zero, bits) in (activation_grids or {}).items()
        ],
        "activations": None if state.activations is None else asdict(state.activations),
        "compute": state.compute_dtype,
    }
    size = write_container(path, header, payloads)
    return PackReport(size, _bytes_by_tensor(records, descriptors, pooled), labels, notes)


def _bytes_by_tensor(
    records: list[Record], descriptors: list[list[int]], pooled: dict[str, list[int]]
) -> dict[str, int]:
    """Own streams of each tensor, plus its part of the pools by number of values."""
    in_pools = [_pooled_values(record) for record in records]
    pool_bytes = sum(descriptors[i][3] for numbers in pooled.values() for i in numbers)
    all_pooled = max(1, sum(in_pools))
    found = {}
    for record, count in zip(records, in_pools, strict=True):
        numbers = [record[k] for k in ("z", "m") if k in record]
        own = record.get("s", [])
        numbers += own if isinstance(own, list) else [own]
        found[record["n"]] = sum(descriptors[i][3] for i in numbers) + round(pool_bytes * count / all_pooled)
    return found


def _pooled_values(record: Record) -> int:
    if record["k"] == "p":
        return math.prod(record["d"])
    return (math.prod(record["c"]) if "c" in record else 0) + record.get("v", 0)


def unpack_model(path: Path) -> PackedModel:
    """Read a packed file.

    Raises:
        InputError: if it is unreadable, foreign or damaged.
    """
    header, data = read_container(path)
    try:
        return _unpack(header, data)
    except _DAMAGED:
        raise InputError(FIELD, path.name, "an undamaged file is needed: its contents do not fit together") from None


def _unpack(header: dict[str, Any], data: bytes) -> PackedModel:
    total = sum(abs(int(n)) for n, _, _, _ in header["streams"])
    total += sum(abs(math.prod(int(d) for d in r.get("d", ()))) for r in header["tensors"])
    # Constant tensors take no bytes at all, so a small file may rightly hold more values than bytes, within reason.
    if total > min(_LARGEST, _ALWAYS_ALLOWED + _VALUES_PER_BYTE * len(data)):
        raise ValueError("too large")
    streams = read_streams(header["streams"], header["tables"], data)
    pools = PoolReader({dtype: read_planes(streams, numbers) for dtype, numbers in header["pools"].items()})
    tensors: dict[str, Tensor] = {}
    encodings: dict[str, Encoding] = {}
    shared: dict[str, str] = {}
    for record in header["tensors"]:
        name = str(record["n"])
        if record["k"] == "=":
            shared[name] = str(record["o"])
            tensors[name] = tensors[shared[name]]
            encoding = encodings.get(shared[name])
        else:
            tensors[name], encoding = read_tensor(record, streams, pools)
        if encoding is not None:
            encodings[name] = encoding
    activations = _read_activations(header["activations"])
    grids = {str(k): (float(scale), int(zero), int(bits)) for k, scale, zero, bits in header["grids"]}
    if header["compute"] not in (None, "float16", "bfloat16", "int8"):
        raise ValueError("it computes in an unknown type")
    return PackedModel(tensors, encodings, activations, grids, header["compute"], shared)


def _read_activations(settings: dict[str, Any] | None) -> ActivationQuantization | None:
    if settings is None:
        return None
    return ActivationQuantization(
        bits=int(settings["bits"]), range_method=str(settings["range_method"]),
        percentile=float(settings["percentile"]), excluded=tuple(str(name) for name in settings["excluded"]),
    )


def load_packed(model: nn.Module, packed: PackedModel) -> None:
    """Put unpacked weights into a model of the same structure, in place.

    Raises:
        InputError: if names or shapes do not fit.
    """
    own = model_tensors(model)
    wrong = sorted(own.keys() ^ packed.tensors.keys())
    wrong += [n for n in own.keys() & packed.tensors.keys() if own[n].shape != packed.tensors[n].shape]
    if wrong:
        raise InputError(FIELD, wrong[0], f"weights of this structure are needed; {len(wrong)} tensors do not fit")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(packed.tensors[name])
    state = state_of(model)
    state.encodings = dict(packed.encodings)
    state.activations, state.compute_dtype = packed.activations, packed.compute_dtype
    state.shared = dict(packed.shared)
