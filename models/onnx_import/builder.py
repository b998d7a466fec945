"""Builds the network of a graph, node by node."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from models.onnx_import.errors import NodeError, OnnxError, shortened
from models.onnx_import.graph import Graph, Node
from models.onnx_import.limits import ALL_FOLDED, LARGEST_ACTIVATION, LARGEST_FOLDED
from models.onnx_import.naming import Names, is_generated, layer_name
from models.onnx_import.network import Extent, Held, OnnxNetwork, Operand, Step
from models.onnx_import.operator_registry import handler_of
from models.onnx_import.values import Kind, Origin, Value, batch_axis, constant, of_batch

_FAILURES = (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError, AssertionError, NotImplementedError)


class Builder:
    """Collects steps and layers.

    Args:
        graph: What is built.
        network: What is filled.
        batches: Batch sizes that are tried; of a file of a fixed batch size, that one first.
        fixed: The file's batch size; None where it is free.
        leading: Whether a first axis of length 1, which a reshape makes in a file of one sample, is the batch.
    """

    def __init__(
        self, graph: Graph, network: OnnxNetwork, batches: tuple[int, ...], fixed: int | None, leading: bool = False
    ) -> None:
        self.graph, self.network, self.batches, self.fixed = graph, network, batches, fixed
        self.leading = leading
        self.values: dict[str, Value] = {}
        self.steps: list[Step] = []
        self.readers = graph.readers()
        self.names = Names()
        self.notes: list[str] = []
        self.made_by: dict[str, Step] = {}
        self._parameters: dict[tuple[str, str], nn.Parameter] = {}
        self._layers: dict[tuple[Any, ...], str] = {}
        self._held: dict[str, Held] = {}
        self._folded = 0

    def build(self) -> None:
        """Translate all nodes, those that depend on constants only first.

        Raises:
            NodeError: naming the first node that cannot be.
        """
        for name, array in self.graph.constants.items():
            self.values[name] = constant(_tensor(array), Origin(name))
        later = []
        for node in self.graph.nodes:
            known = all(not name or (name in self.values and self.values[name].is_constant) for name in node.inputs)
            if known:
                self._translate(node)
            else:
                later.append(node)
        for node in later:
            if not all(name in self.values for name in node.outputs if name):  # else a layer before took it in
                self._translate(node)

    def _translate(self, node: Node) -> None:
        call = Call(self, node)
        try:
            result = handler_of(node)(call)
        except _FAILURES as error:
            if isinstance(error, OnnxError):
                raise
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise NodeError(node.name, node.operator, f"it cannot be computed: {reason}") from None
        results = result if isinstance(result, tuple) else (result,)
        for name, value in zip(node.outputs, results, strict=False):
            if name:
                self.values[name] = value
        for name in node.outputs[len(results):]:
            if name and (name in self.readers or name in self.graph.outputs):
                raise NodeError(node.name, node.operator, f"its output {shortened(name)} is not supported")

    def fold(self, node: Node, function: Callable[..., Any], values: Sequence[Value], settings: dict[str, Any]) -> Any:
        """Compute what does not depend on activations, once, or once per batch size; sizes are checked before."""
        count = 1 if all(value.is_constant for value in values) else len(self.batches)
        results = []
        for probe in range(count):
            operands = [value.at(probe) for value in values]
            self._count_folded(node, function, operands, settings)
            results.append(function(*operands, **settings))
        source = next((value.origin for value in values if value.origin is not None), None)
        origin = None if source is None else source.derived()
        if isinstance(results[0], tuple):
            return tuple(of_batch(tuple(parts), origin) for parts in zip(*results, strict=True))
        return of_batch(tuple(results), origin)

    def _count_folded(self, node: Node, function: Any, operands: list[Tensor], settings: dict[str, Any]) -> None:
        shapes = function(*(operand.to("meta") for operand in operands), **settings)
        for shape in shapes if isinstance(shapes, tuple) else (shapes,):
            self.count(node, shape.numel())

    def count(self, node: Node, values: int) -> None:
        """Add to what is computed from constants.

        Raises:
            NodeError: if that is beyond the limits.
        """
        self._folded += values
        if values > LARGEST_FOLDED or self._folded > ALL_FOLDED:
            reason = f"a constant of {values:,} values would be computed; {LARGEST_FOLDED:,} are allowed"
            raise NodeError(node.name, node.operator, f"{reason}, {ALL_FOLDED:,} of all nodes together")

    def append(self, node: Node, step: Step, probes: Sequence[Any]) -> Any:
        """Add a step whose results were tried at all batch sizes."""
        self.steps.append(step)
        for name in step.outputs:
            self.made_by[name] = step
        if len(step.outputs) == 1:
            return self._activation(node, step.outputs[0], tuple(probes))
        parts = zip(step.outputs, zip(*probes, strict=True), strict=True)
        return tuple(self._activation(node, name, tuple(own)) for name, own in parts)

    def _activation(self, node: Node, name: str, probes: tuple[Tensor, ...]) -> Value:
        value = Value(Kind.ACTIVATION, probes, name)
        largest = max(probe.numel() // batch for probe, batch in zip(probes, self.batches, strict=True))
        if largest > LARGEST_ACTIVATION:
            allowed = f"{LARGEST_ACTIVATION:,} are allowed"
            raise NodeError(node.name, node.operator, f"it makes {largest:,} values per sample; {allowed}")
        if batch_axis(value, self.batches) is None:
            sizes = " and ".join("x".join(map(str, probe.shape)) for probe in probes[:2])
            told = f"its output is {sizes} for batches of {self.batches[0]} and {self.batches[1]}"
            raise NodeError(node.name, node.operator, f"{told}; one axis must follow the batch, all others be fixed")
        return value

    def activations(self) -> list[Value]:
        """All values that depend on what is given."""
        return [value for value in self.values.values() if value.is_activation]

    def output_names(self, node: Node, count: int) -> tuple[str, ...]:
        """Names for the results of a step: the node's own where they are free."""
        own = [*node.outputs, *[""] * count][:count]
        return tuple(
            name if name and name not in self.made_by and name != self.network.input_name
            else f"{node.outputs[0]}#{len(self.steps)}.{index}" for index, name in enumerate(own)
        )

    def layer(self, key: tuple[Any, ...], wanted: str, otherwise: str, make: Callable[[], nn.Module]) -> str:
        """Name of a layer in the network; the same one for the same tensors and settings."""
        if key not in self._layers:
            name = self.names.take(wanted, otherwise)
            self._add(name, make())
            self._layers[key] = name
        return self._layers[key]

    def parameter(self, value: Value, tensor: Tensor, view: str) -> nn.Parameter:
        """A parameter; one matrix used twice, or used transposed, is one parameter.

        Vectors are not: exporters join equal ones, such as the untrained scales of all norms.

        Args:
            value: The constant.
            tensor: Its values as the layer wants them.
            view: How these relate to the constant: "same", "transposed" or "derived".
        """
        origin = value.origin
        if origin is not None and view == "transposed":
            origin = origin.transposed()
        if origin is None or tensor.ndim < 2 or view == "derived" or origin.view == "derived":
            return nn.Parameter(tensor.float().clone().contiguous())
        key = (origin.name, origin.view)
        if key not in self._parameters or self._parameters[key].shape != tensor.shape:
            self._parameters[key] = nn.Parameter(tensor.float().clone().contiguous())
        return self._parameters[key]

    def held(self, value: Value, otherwise: str) -> Held:
        """A constant as a tensor of the network: a parameter where the file has named it, else a buffer."""
        origin = value.origin
        key = "" if origin is None or origin.view == "derived" else f"{origin.name}|{origin.view}"
        if key and key in self._held:
            return self._held[key]
        named = origin is not None and not is_generated(origin.name)
        plain = origin.name.replace("/", ".").split(":")[0] if named and origin is not None else ""
        name = self.names.take(plain, otherwise)
        tensor = value.first
        if named and tensor.is_floating_point() and tensor.numel() > 1:
            self._add(name, self.parameter(value, tensor, "same"))
        else:
            self._add(name, tensor.clone())
        held = Held(name)
        if key:
            self._held[key] = held
        return held

    def _add(self, name: str, item: nn.Module | Tensor) -> None:
        owner: nn.Module = self.network
        *containers, last = name.split(".")
        for part in containers:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        if isinstance(item, nn.Module):
            owner.add_module(last, item)
        elif isinstance(item, nn.Parameter):
            owner.register_parameter(last, item)
        else:
            owner.register_buffer(last, item)


class Call:
    """One node, as its operator's function sees it.

    Args:
        builder: Of the network.
        node: The node.
    """

    def __init__(self, builder: Builder, node: Node) -> None:
        self.builder, self.node = builder, node
        self.opset = builder.graph.opset

    def refuse(self, reason: str) -> NodeError:
        """An error that names the node."""
        return NodeError(self.node.name, self.node.operator, reason)

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or its default."""
        return self.node.attributes.get(name, default)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def value(self, index: int) -> Value:
        """An input.

        Raises:
            NodeError: if it is missing.
        """
        if not self.has(index):
            raise self.refuse(f"its input {index} is missing")
        return self.builder.values[self.node.inputs[index]]

    def values(self) -> list[Value]:
        """All inputs, missing ones left out."""
        return [self.value(index) for index in range(len(self.node.inputs)) if self.has(index)]

    def constant(self, index: int) -> Tensor:
        """An input that must be the same whatever is given.

        Raises:
            NodeError: if it is not.
        """
        value = self.value(index)
        if not value.is_constant:
            raise self.refuse(f"its input {shortened(self.node.inputs[index])} must be a constant")
        return value.first

    def numbers(self, attribute: str, index: int | None, default: list[Any] | None = None) -> list[Any] | None:
        """Whole or other numbers, from an input where there is one, else from an attribute."""
        if index is not None and self.has(index):
            return list(self.constant(index).reshape(-1).tolist())
        found = self.attribute(attribute, default)
        return found if found is None or isinstance(found, list) else [found]

    def scalar(self, index: int, default: Any) -> Any:
        """One number from an input."""
        return self.constant(index).reshape(-1)[0].item() if self.has(index) else default

    def emit(self, function: Callable[..., Any], *values: Value, outputs: int = 1, scalars: bool = False,
             batched: bool = False, **settings: Any) -> Any:
        """Call a function: at once where all values are known, else as a step of the network.

        Args:
            function: On tensors; gives a tensor, or a tuple of them.
            values: What it is called with.
            outputs: How many tensors it gives.
            scalars: Whether it also takes numbers for constants of one element.
            batched: Whether it is given the batch size, as ``batch``.
            settings: Named arguments.
        """
        builder = self.builder
        if not any(value.is_activation for value in values) and not batched:
            return builder.fold(self.node, function, values, settings)
        operands = [self._operand(value, values, scalars) for value in values]
        probes = []
        for probe, batch in enumerate(builder.batches):
            given = [
                value.at(probe).to("meta") if isinstance(operand, str | Held) else operand
                for value, operand in zip(values, operands, strict=True)
            ]
            probes.append(function(*given, **settings, **({"batch": batch} if batched else {})))
        names = builder.output_names(self.node, outputs)
        step = Step(names, tuple(operands), function, settings=settings, batched=batched)
        return builder.append(self.node, step, probes)

    def _operand(self, value: Value, values: Sequence[Value], scalars: bool) -> Operand:
        if value.is_activation:
            return value.name
        if not value.is_constant:
            return self._expanded(value).name
        rank = max(other.first.ndim for other in values if other is not value)
        if scalars and value.first.numel() == 1 and value.first.ndim <= rank:
            return value.first.item()
        return self.builder.held(value, f"constant_{self.node.operator.lower()}")

    def _expanded(self, value: Value) -> Value:
        """What depends on the batch size only, as an activation: one sample of it, repeated."""
        axis = batch_axis(value, self.builder.batches)
        same = axis is not None and all(torch.equal(p, p.narrow(axis, 0, 1).expand_as(p)) for p in value.probes)
        one = None if axis is None or not same else value.first.narrow(axis, 0, 1).contiguous()
        if one is None or any(not torch.equal(one, p.narrow(axis, 0, 1)) for p in value.probes):
            raise self.refuse("one of its inputs depends on the number of samples, and not as copies of one sample")
        multiple = value.first.shape[axis] // self.builder.batches[0]
        return self.repeated(constant(one, value.origin), axis, multiple)

    def repeated(self, value: Value, axis: int, multiple: int = 1) -> Value:
        """A constant of length one along an axis, repeated for every sample."""
        if not value.is_constant:
            raise self.refuse("a constant is needed to be repeated for every sample")
        held = self.builder.held(value, f"constant_{self.node.operator.lower()}")
        settings = {"axis": axis, "multiple": multiple}
        probes = [repeat(value.first.to("meta"), **settings, batch=batch) for batch in self.builder.batches]
        names = (f"{held.name}#repeated{len(self.builder.steps)}",)
        step = Step(names, (held,), repeat, settings=settings, batched=True)
        return self.builder.append(self.node, step, probes)

    def layer(self, make: Callable[[], nn.Module], value: Value, key: tuple[Any, ...],
              tensors: Sequence[Value | None], reader: Node | None = None) -> Value:
        """Call a layer.

        Args:
            make: Makes it.
            value: What it is given.
            key: What makes two layers the same one, beside their tensors.
            tensors: Its tensors in the file.
            reader: A node behind this one that the layer takes in; its output becomes the layer's.
        """
        origins = [tensor.origin for tensor in tensors if tensor is not None]
        named = [origin.name for origin in origins if origin is not None]
        first = named[:1] if tensors[0] is not None and tensors[0].origin is not None else []
        wanted = layer_name(first) or self.node.scope or layer_name(named)  # equal biases are often one tensor
        unknown = any(origin is None or origin.view == "derived" for origin in origins)
        identity = (len(self.builder.steps),) if unknown else tuple((o.name, o.view) for o in origins if o is not None)
        otherwise = f"{self.node.operator.lower()}_{len(self.builder.steps)}"
        if value.is_constant:
            result = self.builder.fold(self.node, _Applied(make().eval()), (value,), {})
            if reader is not None:
                self.builder.values[reader.outputs[0]] = result
            return result
        if not value.is_activation:  # it depends on the number of samples only, such as a table of positions
            value = self._expanded(value)
        name = self.builder.layer((self.node.operator, self.node.scope, *key, *identity), wanted, otherwise, make)
        module = self.builder.network.get_submodule(name)
        state = {k: t.detach().to("meta") for k, t in (*module.named_parameters(), *module.named_buffers())}
        probes = [functional_call(module.eval(), state, (value.at(p),)) for p in range(len(self.builder.batches))]
        node = self.node if reader is None else reader
        step = Step(self.builder.output_names(node, 1), (value.name,), layer=name)
        result = self.builder.append(node, step, probes)
        if reader is not None:
            self.builder.values[reader.outputs[0]] = result
        return result

    def sole_reader(self) -> Node | None:
        """The only node that reads this node's only result, where that is no output of the graph."""
        name = self.node.outputs[0]
        readers = self.builder.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.builder.graph.outputs else None

    def lengths(self, index: int) -> list[int | Extent]:
        """Whole numbers of an input, some of which may follow the batch.

        Raises:
            NodeError: if they follow anything else.
        """
        from models.onnx_import.values import lengths_of

        value = self.value(index)
        if value.is_activation:
            raise self.refuse(f"its input {shortened(self.node.inputs[index])} must not depend on what is given")
        batches = self.builder.batches
        rows = tuple(tuple(int(n) for n in value.at(p).reshape(-1).tolist()) for p in range(len(batches)))
        found = lengths_of(rows, batches)
        if found is None:
            raise self.refuse("its lengths do not follow the batch linearly")
        return found


class _Applied:
    """A layer as a function of tensors, on the meta device too.

    Args:
        module: The layer, in eval mode.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.state = {k: t.detach() for k, t in (*module.named_parameters(), *module.named_buffers())}

    def __call__(self, x: Tensor) -> Tensor:
        return functional_call(self.module, {k: t.to(x.device) for k, t in self.state.items()}, (x,))


def repeat(x: Tensor, *, axis: int, multiple: int, batch: int) -> Tensor:
    """One sample, once for every sample of a batch."""
    sizes = [-1] * x.ndim
    sizes[axis] = multiple * batch
    return x.expand(sizes)


def _tensor(array: np.ndarray) -> Tensor:
    """A view of an array that nothing writes to."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it lies in the file's own bytes
        return torch.from_numpy(array)
