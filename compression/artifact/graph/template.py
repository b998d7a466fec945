"""Exported graphs, once per architecture: the weights are replaced afterwards.

`torch.onnx.export` takes seconds; replacing initializers takes milliseconds. A template is exported from random
weights (so that no two of them are merged for being equal), kept without them, and made independent of layer widths
as far as its Reshape nodes allow. Whoever fills it checks the result against the model's own output.
"""

import hashlib
import inspect
import io
import logging
import os
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from compression.artifact.graph.lowering import Fold, find_folds, lowered_copy
from compression.artifact.graph.splitting import split_layers
from compression.structure.factorized import factorized_layers, merged_copy

INPUT, OUTPUT = "input", "output"
_SHAPED = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.Embedding)
_FLEXIBLE = {"in_channels", "out_channels", "groups", "in_features", "out_features", "num_features",
             "normalized_shape", "num_embeddings", "embedding_dim", "training"}
Shape = list[int | str]
Shapes = dict[str, Shape | None]
_cache: dict[str, bytes] = {}


def template_key(model: nn.Module, example_input: Tensor) -> str:
    """Hash of everything about a model but its widths and weights."""
    version = torch.__version__.split("+")[0]
    digest = hashlib.sha256(f"{version}|{tuple(example_input.shape[1:])}|{example_input.dtype}".encode())
    for fqn, module in model.named_modules():
        parts = [fqn, type(module).__qualname__, _source_of(type(module)), *_settings(module)]
        parts += [name for name, p in module.named_parameters(recurse=False) if p is not None]
        digest.update("|".join(parts).encode())
    return digest.hexdigest()[:20]


@lru_cache(maxsize=512)
def _source_of(kind: type) -> str:
    if kind.__module__.startswith("torch."):
        return kind.__module__
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return kind.__module__


def _settings(module: nn.Module) -> list[str]:
    plain = (bool, int, float, str, tuple)
    hidden = _FLEXIBLE if isinstance(module, _SHAPED) else {"training"}
    return [f"{k}={v}" for k, v in sorted(vars(module).items()) if k not in hidden and isinstance(v, plain)]


def load_template(
    model: nn.Module, example_input: Tensor, folds: dict[str, Fold], cache_dir: Path | None
) -> onnx.ModelProto:
    """The architecture's graph with random weights, from memory, from disk, or freshly exported.

    Layers that were split into two share the template of the unsplit architecture.
    """
    if factorized_layers(model):
        whole = merged_copy(model)
        proto = load_template(whole, example_input, find_folds(whole, example_input), cache_dir)
        split_layers(proto.graph, model)
        return proto
    key = template_key(model, example_input)
    if key not in _cache:
        path = None if cache_dir is None else cache_dir / "graphs" / f"{key}.onnx"
        if path is not None and path.is_file():
            _cache[key] = path.read_bytes()
        else:
            _cache[key] = _export_template(model, example_input, folds)
            if path is not None:
                write_atomically(path, _cache[key])
    return _with_zeros(onnx.load_model_from_string(_cache[key]))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that other processes may read meanwhile; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.part")
    draft.write_bytes(data)
    draft.replace(path)


def _export_template(model: nn.Module, example_input: Tensor, folds: dict[str, Fold]) -> bytes:
    lowered = lowered_copy(model, folds)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in lowered.parameters():
            if parameter.is_floating_point():
                parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
    proto = export_model(lowered, example_input, free=True)
    _drop_weights(proto, set(lowered.state_dict()))
    return proto.SerializeToString()


def _drop_weights(proto: onnx.ModelProto, names: set[str]) -> None:
    """Leave of the named tensors their type and shape: whoever fills a template replaces them all."""
    for tensor in proto.graph.initializer:
        if tensor.name in names:
            tensor.ClearField("raw_data")


def _with_zeros(proto: onnx.ModelProto) -> onnx.ModelProto:
    for tensor in proto.graph.initializer:
        if _is_empty(tensor):
            zeros = np.zeros(tuple(tensor.dims), helper.tensor_dtype_to_np_dtype(tensor.data_type))
            tensor.CopyFrom(numpy_helper.from_array(zeros, tensor.name))
    return proto


def _is_empty(tensor: onnx.TensorProto) -> bool:
    held = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data")
    return 0 not in tensor.dims and not any(len(getattr(tensor, field)) for field in held)


def export_model(lowered: nn.Module, example_input: Tensor, free: bool = False) -> onnx.ModelProto:
    """Export a lowered model with its weights and a dynamic batch dimension.

    Args:
        lowered: Of `lowered_copy`.
        example_input: (1, ...).
        free: Make the graph independent of layer widths where that is possible.
    """
    example = torch.cat([example_input[:1]] * 2)
    exporter_logger = logging.getLogger("torch.onnx")
    level = exporter_logger.level
    exporter_logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                lowered, (example,), dynamo=True, verbose=False, optimize=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},), input_names=[INPUT], output_names=[OUTPUT],
            )
    finally:
        exporter_logger.setLevel(level)
    buffer = io.BytesIO()
    program.save(buffer)
    proto = onnx.load_model_from_string(buffer.getvalue())
    _strip(proto)
    shapes = {v.name: _shape(v) for v in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)}
    join_gemm(proto.graph, shapes)
    if free:
        _free_reshapes(proto.graph, shapes)
    del proto.graph.value_info[:]
    return proto


def _strip(proto: onnx.ModelProto) -> None:
    """Drop what only describes where nodes came from; it would be counted as size."""
    graph = proto.graph
    proto.doc_string = graph.doc_string = ""
    del proto.metadata_props[:], graph.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]


def join_gemm(graph: onnx.GraphProto, shapes: Shapes) -> None:
    """Make one Gemm of a matrix product of rank 2 and its bias; the integer Gemm kernel needs them together."""
    constants = {t.name for t in graph.initializer}
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    for node in [n for n in graph.node if n.op_type == "MatMul"]:
        users = consumers.get(node.output[0], [])
        flat = len(shapes.get(node.input[0]) or ()) == 2
        if not flat or node.input[1] not in constants or len(users) != 1 or users[0].op_type != "Add":
            continue
        bias = [name for name in users[0].input if name != node.output[0]]
        if len(bias) == 1 and bias[0] in constants and bias[0].endswith(".bias"):
            node.op_type = "Gemm"
            node.input.append(bias[0])
            node.output[0] = users[0].output[0]
            graph.node.remove(users[0])


def _free_reshapes(graph: onnx.GraphProto, shapes: Shapes) -> None:
    """Rewrite constant Reshape targets so that they follow their input's widths where they can.

    ``[-1, 64, 6, 16]`` of an input (batch, 64, 96) becomes ``[0, 0, -1, 16]``: leading dimensions are copied, and
    the number of heads is inferred.
    """
    constants = {t.name: t for t in graph.initializer}
    for number, node in enumerate(n for n in graph.node if n.op_type == "Reshape"):
        source, target = shapes.get(node.input[0]), constants.get(node.input[1])
        if source is None or target is None:
            continue
        wanted = [int(d) for d in numpy_helper.to_array(target)]
        freed = _freed(source, wanted)
        if freed is not None:
            name = f"reshape_target_{number}"
            graph.initializer.append(numpy_helper.from_array(np.array(freed, dtype=np.int64), name))
            node.input[1] = name
            del node.attribute[:]
    used = {name for node in graph.node for name in node.input}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _shape(value: onnx.ValueInfoProto) -> Shape | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def _freed(source: Shape, wanted: list[int]) -> list[int] | None:
    same = 0
    while same < min(len(source), len(wanted)) and (
        wanted[same] == source[same] or (same == 0 and wanted[0] == -1 and isinstance(source[0], str))
    ):
        same += 1
    if same == len(wanted) or same == 0:
        return None
    return [0] * same + [-1] + wanted[same + 1 :]
