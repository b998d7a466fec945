"""An ONNX file becomes a PyTorch module."""

from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from models.onnx_import.builder import Builder
from models.onnx_import.checks import checked
from models.onnx_import.comparison import Agreement, compare
from models.onnx_import.errors import OnnxError
from models.onnx_import.files import read_file
from models.onnx_import.graph import Graph, graph_of
from models.onnx_import.inputs import NETWORK_INPUT, InputPlan, plan_inputs
from models.onnx_import.network import Held, OnnxNetwork, Step
from models.onnx_import.operators import elementwise
from models.onnx_import.operators.reshaping import flatten
from models.onnx_import.outputs import choose_output
from models.onnx_import.patterns import join_patterns
from models.onnx_import.precision import described, to_float32
from models.onnx_import.values import Kind, Value

_DAMAGED = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError,
)
_FREE_BATCHES = (2, 3, 5)
_ARITHMETIC = (elementwise.add, elementwise.subtract, elementwise.multiply, elementwise.divide)


@dataclass(frozen=True)
class ImportedModel:
    """What a file was made into.

    Attributes:
        network: In eval mode, with the file's weights.
        model: The file in float32, for comparisons.
        plan: What it is given.
        num_classes: Length of its result's last axis.
        per_token: Whether there is a result for every token.
        vocabulary: Number of different token ids; None of images.
        normalises: Whether its first operations prepare the image.
        bytes_in: Whether they do so from values from 0 to 255.
        notes: What was decided and changed, in sentences.
    """

    network: OnnxNetwork
    model: onnx.ModelProto
    plan: InputPlan
    num_classes: int
    per_token: bool
    vocabulary: int | None
    normalises: bool
    bytes_in: bool
    notes: tuple[str, ...]

    def compare(self) -> Agreement:
        """Compare with ONNX Runtime.

        Raises:
            OnnxError: if the results differ, naming the first node whose do.
        """
        return compare(
            self.model, self.network, self.plan, vocabulary=self.vocabulary, bytes_in=self.bytes_in,
        )


def import_onnx(
    path: Path, *, size: int | None = None, sample_shape: tuple[int, ...] | None = None, values: bool = False,
    shown: str | None = None,
) -> ImportedModel:
    """Read an ONNX file and build its network; `ImportedModel.compare` then shows that both are the same.

    Args:
        path: The file; data beside it are read from its folder only.
        size: Height and width, or number of tokens, where the file leaves them open.
        sample_shape: Shape of a sample of the dataset that it will be scored on.
        values: Whether its results are values rather than scores of classes, so that a sigmoid at the end is kept.
        shown: What the file is called in errors.

    Raises:
        OnnxError: naming the node or field and what is allowed.
    """
    return build_network(read_file(path, shown), size=size, sample_shape=sample_shape, values=values)


def build_network(
    model: onnx.ModelProto, *, size: int | None = None, sample_shape: tuple[int, ...] | None = None,
    values: bool = False,
) -> ImportedModel:
    """Build the network of a file that has been read; see `import_onnx`."""
    try:
        return _built(model, size, sample_shape, values)
    except OnnxError:
        raise
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise OnnxError(f"the file is damaged, or of an unknown form: {reason}") from None


@torch.no_grad()
def _built(
    model: onnx.ModelProto, size: int | None, sample_shape: tuple[int, ...] | None, values: bool
) -> ImportedModel:
    model = checked(model)
    notes = [f"{text[0].upper()}{text[1:]}." for text in described(to_float32(model))]
    graph = graph_of(model)
    notes += choose_output(graph, values)
    join_patterns(graph)
    plan = plan_inputs(graph, size, sample_shape)
    batches = _FREE_BATCHES if plan.fixed is None else (plan.fixed, 2 * plan.fixed, 3 * plan.fixed)
    builder, classes, per_token = _network_of(graph, plan, batches)
    network = builder.network
    network.connect(builder.steps)
    if not any(True for _ in network.parameters()):
        raise OnnxError("the graph has no weights that its result depends on")
    normalises, bytes_in = _preprocessing(network, plan)
    return ImportedModel(
        network.eval(), model, plan, classes, per_token, _vocabulary(network, plan), normalises,
        bytes_in or any("bytes" in note for note in plan.notes), (*notes, *plan.notes, *builder.notes),
    )


def _network_of(graph: Graph, plan: InputPlan, batches: tuple[int, ...]) -> tuple[Builder, int, bool]:
    """Build all steps; a file of one sample does not say which axis of length 1 is the batch, so both are tried."""
    ways = (False, True) if plan.fixed == 1 else (False,)
    first: OnnxError | None = None
    for leading in ways:
        builder = Builder(graph, OnnxNetwork(NETWORK_INPUT, graph.outputs[0]), batches, plan.fixed, leading)
        builder.steps.extend(plan.steps)
        for step in plan.steps:
            builder.made_by[step.outputs[0]] = step
        _give_inputs(builder, plan)
        try:
            builder.build()
            return builder, *_finish(builder, plan)
        except OnnxError as error:
            first = first or error
    assert first is not None
    raise first


def _give_inputs(builder: Builder, plan: InputPlan) -> None:
    """The graph's inputs, and the network's, from which they are made."""
    def probes(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
        return tuple(torch.empty((batch, *shape), dtype=dtype, device="meta") for batch in builder.batches)

    own = torch.int64 if plan.dtype == "int64" else torch.float32
    builder.values[f"#{NETWORK_INPUT}"] = Value(Kind.ACTIVATION, probes(plan.shape, own), NETWORK_INPUT)
    for step in plan.steps:
        name = step.outputs[0]
        dtype = step.settings.get("dtype", torch.float32)
        builder.values[name] = Value(Kind.ACTIVATION, probes(plan.shapes[name], dtype), name)


def _finish(builder: Builder, plan: InputPlan) -> tuple[int, bool]:
    """The result's form: scores (N, classes), or (N, T, classes) for every token."""
    name = builder.graph.outputs[0]
    value = builder.values.get(name)
    if value is None or not value.is_activation:
        raise OnnxError(f"output {name!r}: it does not depend on the input")
    shape = value.first.shape
    if value.name != name:
        builder.network.output_name = value.name
    if len(shape) > 2 and all(length == 1 for length in shape[2:]):
        builder.steps.append(Step((f"{name}#flat",), (value.name,), flatten, settings={"axis": 1}))
        builder.network.output_name = f"{name}#flat"
        shape = shape[:2]
    if len(shape) == 1:
        builder.steps.append(Step((f"{name}#column",), (value.name,), torch.unsqueeze, settings={"dim": 1}))
        builder.network.output_name = f"{name}#column"
        shape = torch.Size((*shape, 1))
    per_token = len(shape) == 3 and plan.dtype == "int64" and shape[1] == plan.shape[0]
    if (len(shape) != 2 and not per_token) or shape[0] != builder.batches[0]:
        told = "x".join(map(str, ("N", *shape[1:])))
        raise OnnxError(f"output {name!r}: its shape {told} is not supported; (N, classes) is needed")
    return shape[-1], per_token


def _preprocessing(network: OnnxNetwork, plan: InputPlan) -> tuple[bool, bool]:
    """Whether the first operations on an image are arithmetic, and whether their numbers are those of bytes."""
    if plan.dtype == "int64":
        return False, False
    names, found, large = {NETWORK_INPUT, *(step.outputs[0] for step in plan.steps)}, False, False
    for step in network.steps:
        if step.inputs and step.inputs[0] in names and step.function in _ARITHMETIC and len(step.inputs) == 2:
            number = _magnitude(network, step.inputs[1])
            if number is None:
                break
            found, names = True, {*names, step.outputs[0]}
            shrinks = number >= 20 if step.function is elementwise.divide else number <= 0.05
            shifts = step.function in (elementwise.add, elementwise.subtract) and number > 4
            large |= shifts or (shrinks and step.function in (elementwise.divide, elementwise.multiply))
        elif step.inputs and step.inputs[0] in names and step.layer is not None:
            break
    return found, large


def _magnitude(network: OnnxNetwork, operand: object) -> float | None:
    if isinstance(operand, Held):
        owner, _, name = operand.name.rpartition(".")
        return float(getattr(network.get_submodule(owner), name).abs().max())
    return abs(float(operand)) if isinstance(operand, int | float) else None


def _vocabulary(network: OnnxNetwork, plan: InputPlan) -> int | None:
    """Rows of the table that is read by the token ids."""
    if plan.dtype != "int64":
        return None
    names = {NETWORK_INPUT, plan.steps[0].outputs[0]}
    for step in network.steps:
        if step.layer is not None and step.inputs[0] in names:
            layer = network.get_submodule(step.layer)
            return layer.num_embeddings if isinstance(layer, nn.Embedding) else None
        if step.inputs and step.inputs[0] in names and step.function is Tensor.to:
            names.add(step.outputs[0])
    return None
