"""Compiles a compressed model to the ONNX file that is executed, timed and exported."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from torch import Tensor, nn

from compression.artifact.graph.blocks import block_weights, insert_block_products
from compression.artifact.graph.checking import (
    Reference,
    check_block_graph,
    check_half_graph,
    check_integer_graph,
    checked_samples,
    first_difference,
    reference,
)
from compression.artifact.graph.editing import GraphEditor
from compression.artifact.graph.exporting import export_model
from compression.artifact.graph.integers import integer_weights
from compression.artifact.graph.kernels import integer_layers
from compression.artifact.graph.lowering import Lowering, lowered_copy, lowered_tensors, plan_lowering
from compression.artifact.graph.opset import lower_opset
from compression.artifact.graph.quantize import Grid, insert_grids, layer_nodes, values_to_quantize
from compression.artifact.graph.ranges import choose_grids
from compression.artifact.graph.sharing import share_symbols
from compression.artifact.graph.template import load_template, write_atomically
from compression.artifact.graph.weights import fill_weights
from compression.core.errors import GraphError
from compression.layers import is_conv2d, weight_layers
from compression.state import state_of

_STRUCTURE_VERSION = b"2"


@dataclass(frozen=True)
class GraphReport:
    """What was written.

    Attributes:
        runtime_size_bytes: Bytes of the ONNX file.
        kernels: "int8", "int4", "float16" or "float32" per weight layer, as ONNX Runtime chose here.
        reasons: Why a layer stayed in float where integer kernels were asked for.
        structure_key: Equal for graphs that run equally fast; see `structure_key`.
        notes: Remarks for the user.
    """

    runtime_size_bytes: int
    kernels: dict[str, str]
    reasons: dict[str, str]
    structure_key: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Draft:
    """The architecture's graph, and the same with the model's weights, checked against the model's own output."""

    base: onnx.ModelProto
    filled: onnx.ModelProto
    lowering: Lowering


def calibrate_activations(
    model: nn.Module, example_input: Tensor, calibration_inputs: Tensor, cache_dir: Path | None = None
) -> dict[str, Grid]:
    """Choose the grids of a model's activations.

    Args:
        model: With `state_of(model).activations` set.
        example_input: (1, ...).
        calibration_inputs: (N, ...), of the training split.
        cache_dir: Where exported graphs are kept.

    Returns:
        ``ONNX value -> (scale, zero point, bits)``.
    """
    settings = state_of(model).activations
    if settings is None:
        return {}
    wanted = reference(model, checked_samples(calibration_inputs))
    draft = _float_draft(model, example_input, wanted, cache_dir)
    found, _ = integer_weights(model, draft.lowering, settings)
    values = values_to_quantize(draft.filled.graph, list(found))
    return choose_grids(draft.filled, values, calibration_inputs.numpy(), settings)


def compile_graph(
    model: nn.Module,
    example_input: Tensor,
    path: Path,
    *,
    activation_grids: dict[str, Grid] | None = None,
    cache_dir: Path | None = None,
    samples: Tensor | None = None,
) -> GraphReport:
    """Write a model's ONNX graph, input "input", output "output", dynamic batch, once it computes what the model does.

    Args:
        model: In eval mode; `state_of(model)` says how its weights are stored.
        example_input: (1, ...).
        path: File to write.
        activation_grids: Of `calibrate_activations`; None or empty for float activations.
        cache_dir: Where exported graphs and kernel choices are kept.
        samples: Real inputs (N, ...) that model and graph are compared on; the example where there are none.

    Raises:
        GraphError: if the graph does not compute what the model does, within what its rounding explains.
    """
    state = state_of(model)
    reasons: dict[str, str] = {}
    notes: list[str] = []
    wanted = reference(model, example_input if samples is None else checked_samples(samples))
    draft = _float_draft(model, example_input, wanted, cache_dir)
    proto = draft.filled
    if activation_grids and state.activations is not None:
        proto, reasons = _integer_graph(draft, model, activation_grids)
        check_integer_graph(proto, draft.filled, activation_grids, wanted)
        if state.compute_dtype == "int8":
            notes.append("Quantized activations take the place of integer kernels for float activations.")
    elif state.compute_dtype == "int8":
        proto, reasons = _block_graph(draft, model)
        check_block_graph(proto, wanted)
    elif state.activations is not None:
        _, reasons = integer_weights(model, draft.lowering, state.activations)
    elif state.compute_dtype == "float16":
        proto = convert_float_to_float16(proto, keep_io_types=True)
        check_half_graph(proto, wanted)
        notes.append(
            "The graph computes in float16; where this CPU's runtime has no 16-bit kernel it converts to float32 "
            "and back around each operation."
        )
    key = structure_key(proto)
    lower_opset(proto)
    write_atomically(path, share_symbols(proto, model).SerializeToString())
    on_integers = integer_layers(proto, key, cache_dir)  # of the graph without moved symbols: the kernels are the same
    kernels = {fqn: _kernel(fqn, on_integers, state.compute_dtype) for fqn, _ in weight_layers(model)}
    if state.activations is not None or state.compute_dtype == "int8":
        for fqn in kernels:
            if fqn not in on_integers:
                reasons.setdefault(fqn, "the runtime chose no integer kernel for it")
    return GraphReport(path.stat().st_size, kernels, reasons, key, tuple(notes))


def _kernel(fqn: str, on_integers: dict[str, str], compute_dtype: str | None) -> str:
    if fqn in on_integers:
        return on_integers[fqn]
    return "float16" if compute_dtype == "float16" else "float32"


def _float_draft(model: nn.Module, example_input: Tensor, wanted: Reference, cache_dir: Path | None) -> _Draft:
    """Fill the architecture's template; where that computes something else, export this very model.

    Batch norms stay standing where neither shows that their folds are right.

    Raises:
        GraphError: if no graph computes what the model does, naming the first layer that differs.
    """
    planned = plan_lowering(model, example_input)
    standing = planned.without_folds()
    for lowering in dict.fromkeys([planned, standing]):
        base = load_template(model, example_input, lowering, cache_dir)
        filled = _fill(base, model, lowering)
        if _holds_parameters(base, model, lowering) and wanted.agrees(filled):
            return _Draft(base, filled, lowering)
    tried = {}
    for lowering in dict.fromkeys([planned, standing, Lowering()]):
        base = export_model(lowered_copy(model, lowering), example_input)
        tried[lowering] = filled = _fill(base, model, lowering)
        if wanted.agrees(filled):
            return _Draft(base, filled, lowering)
    where = first_difference(tried[standing], wanted)
    raise GraphError("the exported graph", where, "no export of it agrees with PyTorch")


def _fill(
    base: onnx.ModelProto, model: nn.Module, lowering: Lowering, skip: frozenset[str] = frozenset()
) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    proto.CopyFrom(base)
    for fqn, node in layer_nodes(proto.graph, [fqn for fqn, _ in weight_layers(model)]).items():
        layer = model.get_submodule(fqn)
        if is_conv2d(layer):
            for attribute in node.attribute:
                if attribute.name == "group":
                    attribute.i = layer.groups
    editor = GraphEditor(proto)
    fill_weights(editor, model, lowering, skip)
    return editor.finish()


def _holds_parameters(base: onnx.ModelProto, model: nn.Module, lowering: Lowering) -> bool:
    """Whether each parameter can be replaced; one that went into a constant would keep the template's random values."""
    names = {tensor.name for tensor in base.graph.initializer}
    gone = {fold.norm for fold in lowering.folds.values()}
    return all(name in names for name, _ in model.named_parameters() if name.rpartition(".")[0] not in gone)


def _integer_graph(
    draft: _Draft, model: nn.Module, grids: dict[str, Grid]
) -> tuple[onnx.ModelProto, dict[str, str]]:
    settings = state_of(model).activations
    assert settings is not None
    found, reasons = integer_weights(model, draft.lowering, settings)
    nodes = layer_nodes(draft.base.graph, list(found))
    reasons.update({fqn: "its weight is used more than once" for fqn in found if fqn not in nodes})
    found = {fqn: found[fqn] for fqn in nodes}
    tensors = lowered_tensors(model, draft.lowering)  # biases by value: they may be stored in 16 bits
    biases = {
        fqn: tensors[f"{fqn}.bias"].numpy() for fqn in nodes
        if nodes[fqn].op_type != "MatMul" and f"{fqn}.bias" in nodes[fqn].input and f"{fqn}.bias" in tensors
    }
    written = {f"{fqn}.weight" for fqn in found} | {f"{fqn}.bias" for fqn in biases}
    proto = _fill(draft.base, model, draft.lowering, frozenset(written))
    insert_grids(proto, found, biases, grids)
    return proto, reasons


def _block_graph(draft: _Draft, model: nn.Module) -> tuple[onnx.ModelProto, dict[str, str]]:
    """Float activations, and linear layers that multiply by packed weights."""
    found, reasons = block_weights(model)
    nodes = layer_nodes(draft.base.graph, list(found))
    reasons.update({fqn: "its weight is used more than once" for fqn in found if fqn not in nodes})
    found = {fqn: found[fqn] for fqn in nodes}
    proto = _fill(draft.base, model, draft.lowering, frozenset(f"{fqn}.weight" for fqn in found))
    insert_block_products(proto, found)
    return proto, reasons


def structure_key(proto: onnx.ModelProto) -> str:
    """Hash of all in a graph that decides how long it takes; 16 hexadecimal digits.

    That is nodes with their attributes, shapes and types of inputs, outputs and weights, operator versions, and those
    weights whose values decide what is executed: shapes, axes, and whether a zero point is zero. Other values count
    for nothing, so that artifacts that differ in weights alone share a latency.
    """
    digest = hashlib.sha256(_STRUCTURE_VERSION)
    for opset in proto.opset_import:
        digest.update(f"{opset.domain}:{opset.version}".encode())
    for value in (*proto.graph.input, *proto.graph.output):
        digest.update(value.SerializeToString(deterministic=True))
    for node in proto.graph.node:
        digest.update(node.SerializeToString(deterministic=True))
    for tensor in proto.graph.initializer:
        digest.update(f"{tensor.name}:{tensor.data_type}:{list(tensor.dims)}".encode())
        if tensor.name.endswith(".zero") and not tensor.dims:
            digest.update(b"0" if not numpy_helper.to_array(tensor).any() else b"1")
        elif tensor.data_type == TensorProto.INT64:
            digest.update(numpy_helper.to_array(tensor).tobytes())
    return digest.hexdigest()[:16]
