"""Exported graphs, once per architecture: the weights are replaced afterwards.

`torch.onnx.export` takes seconds; replacing initializers takes milliseconds. A template is exported from random
weights (so that no two of them are merged for being equal), kept without them, and made independent of layer widths
as far as its Reshape nodes allow. Whoever fills it checks the result against the model's own output.
"""

import hashlib
import inspect
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from compression.artifact.graph.exporting import export_model
from compression.artifact.graph.lowering import Lowering, lowered_copy, plan_lowering
from compression.artifact.graph.splitting import split_layers
from compression.structure.factorized import factorized_layers, merged_copy

_SHAPED = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.Embedding)
_FLEXIBLE = {"in_channels", "out_channels", "groups", "in_features", "out_features", "num_features",
             "normalized_shape", "num_embeddings", "embedding_dim", "training"}
_cache: dict[str, bytes] = {}


def template_key(model: nn.Module, example_input: Tensor, lowering: Lowering) -> str:
    """Hash of everything about a model but its widths and weights."""
    version = torch.__version__.split("+")[0]
    shape = tuple(example_input.shape[1:])
    digest = hashlib.sha256(f"{version}|{shape}|{example_input.dtype}|{lowering.summary()}".encode())
    for fqn, module in model.named_modules():
        parts = [fqn, type(module).__qualname__, _source_of(type(module)), *_settings(module)]
        parts += [name for name, p in module.named_parameters(recurse=False) if p is not None]
        digest.update("|".join(parts).encode())
    return digest.hexdigest()[:20]


@lru_cache(maxsize=512)
def _source_of(kind: type) -> str:
    """Code of a class and of those it derives from, but for PyTorch's."""
    found = []
    for own in kind.__mro__[:-1]:
        if own.__module__.startswith("torch."):
            found.append(own.__module__)
            break
        try:
            found.append(inspect.getsource(own))
        except (OSError, TypeError):
            found.append(own.__module__)
    return "|".join(found)


def _settings(module: nn.Module) -> list[str]:
    plain = (bool, int, float, str, tuple)
    hidden = _FLEXIBLE if isinstance(module, _SHAPED) else {"training"}
    return [f"{k}={v}" for k, v in sorted(vars(module).items()) if k not in hidden and isinstance(v, plain)]


def load_template(
    model: nn.Module, example_input: Tensor, lowering: Lowering, cache_dir: Path | None
) -> onnx.ModelProto:
    """The architecture's graph with random weights, from memory, from disk, or freshly exported.

    Layers that were split into two share the template of the unsplit architecture.
    """
    if factorized_layers(model):
        whole = merged_copy(model)
        proto = load_template(whole, example_input, plan_lowering(whole, example_input), cache_dir)
        split_layers(proto.graph, model)
        return proto
    key = template_key(model, example_input, lowering)
    if key not in _cache:
        path = None if cache_dir is None else cache_dir / "graphs" / f"{key}.onnx"
        if path is not None and path.is_file():
            _cache[key] = path.read_bytes()
        else:
            _cache[key] = _export_template(model, example_input, lowering)
            if path is not None:
                write_atomically(path, _cache[key])
    return _with_zeros(onnx.load_model_from_string(_cache[key]))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that other processes may read meanwhile; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.part")
    draft.write_bytes(data)
    draft.replace(path)


def _export_template(model: nn.Module, example_input: Tensor, lowering: Lowering) -> bytes:
    lowered = lowered_copy(model, lowering)
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
