"""Graphs that come from elsewhere, read with care."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NotImplemented,
    RuntimeException,
)

from compression.artifact.graph.execution import open_session
from compression.artifact.graph.exporting import INPUT, OUTPUT
from compression.core.errors import InputError

_FAILURES = (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NotImplemented, RuntimeException)


def read_graph(path: Path) -> onnx.ModelProto:
    """Load a graph that stands alone, has this project's input and output, and can be executed here.

    Raises:
        InputError: if it is damaged, reaches for other files, or is none that ONNX Runtime executes.
    """
    try:
        proto = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError):
        raise InputError(path.name, "unreadable", "an undamaged ONNX graph is needed") from None
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer):
        raise InputError(path.name, "external data", "a graph that holds all its weights is needed")
    names = [value.name for value in (*proto.graph.input, *proto.graph.output)]
    if names != [INPUT, OUTPUT]:
        raise InputError(path.name, ", ".join(names) or "empty", f"one {INPUT!r} and one {OUTPUT!r} are needed")
    try:
        open_session(proto)
    except _FAILURES:
        raise InputError(path.name, "not executable", "a graph that ONNX Runtime loads is needed") from None
    return proto
