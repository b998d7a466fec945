"""Which operation reads what which other one makes, seen by running a model once.

Every call of a torch function is recorded, functional ones included, so no assumption is made about how the model's
code is written; what is opaque (a fused attention, say) is an operation like any other.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Operation:
    """One call.

    Attributes:
        name: The function's name ("conv2d", "relu").
        inputs: Values that it reads, parameters and buffers left out.
        output: Value that it makes; None where it makes several or none.
        module: fqn of the module whose parameters it reads; None without any, and where modules share them.
        settings: Its arguments that are no tensors.
        made: All values that it makes.
        owners: fqns of all modules whose parameters it reads, also through operations on parameters alone.
        parameters: Names of the parameters and buffers that it reads; of tied ones the first.
        within: fqn of the innermost module in whose forward pass it runs.
        rank: Number of dimensions of the value it makes.
    """

    name: str
    inputs: tuple[int, ...]
    output: int | None
    module: str | None
    settings: tuple[Any, ...]
    made: tuple[int, ...] = ()
    owners: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    within: str = ""
    rank: int = 0


@dataclass(frozen=True)
class Dataflow:
    """Operations in the order they ran, and the values that the model returned."""

    operations: tuple[Operation, ...]
    outputs: frozenset[int]

    def reader(self, operation: Operation) -> Operation | None:
        """The only operation that reads what this one makes; None where others, or the caller, read it too."""
        found = self.readers(operation)
        return found[0] if len(found) == 1 else None

    def readers(self, operation: Operation) -> list[Operation]:
        """All operations that read what this one makes; none where the caller reads it too."""
        if operation.output is None or operation.output in self.outputs:
            return []
        return [o for o in self.operations for value in o.inputs if value == operation.output]

    def once(self) -> Iterator[tuple[str, Operation]]:
        """Modules that ran exactly once, with their operation."""
        names = [o.module for o in self.operations]
        for operation in self.operations:
            if operation.module is not None and names.count(operation.module) == 1:
                yield operation.module, operation


@torch.no_grad()
def record_dataflow(model: nn.Module, example_input: Tensor) -> Dataflow:
    """Run a model on an input and record what it does.

    Args:
        model: In eval mode.
        example_input: (1, ...).
    """
    recorder = _Recorder(model)
    with recorder, recorder.following(model):
        output = model(example_input)
    return Dataflow(tuple(recorder.operations), frozenset(recorder.number(t) for t in _tensors(output)))


_READS = frozenset({  # give no tensor, and yet depend on the values
    "item", "tolist", "numpy", "__array__", "__bool__", "__float__", "__int__", "__contains__", "equal", "allclose",
})
_WRITES = frozenset({"__setitem__", "__delitem__"})  # change their first argument and give nothing


class _Recorder(TorchFunctionMode):
    """Numbers values; an operation that changes a tensor in place makes a new value of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._numbers: dict[int, int] = {}
        self._alive: list[Tensor] = []  # an id must not be given to another tensor
        self._owners: dict[int, tuple[str, ...]] = {}
        self._names: dict[int, tuple[str, ...]] = {}
        self._running = [""]
        for fqn, module in model.named_modules():
            held = [*module.named_parameters(fqn, recurse=False), *module.named_buffers(fqn, recurse=False)]
            for name, tensor in held:
                self._owners[id(tensor)] = (*self._owners.get(id(tensor), ()), fqn)
                self._names.setdefault(id(tensor), (name,))

    @contextmanager
    def following(self, model: nn.Module) -> Iterator[None]:
        """Know at any time whose forward pass is running."""
        handles = []
        for fqn, module in model.named_modules():
            handles += [
                module.register_forward_pre_hook(lambda m, args, fqn=fqn: self._running.append(fqn), prepend=True),
                module.register_forward_hook(lambda m, args, out: self._left()),
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _left(self) -> None:
        self._running.pop()

    def number(self, tensor: Tensor) -> int:
        """The value that a tensor holds now."""
        return self._numbers[id(tensor)] if id(tensor) in self._numbers else self._renumber(tensor)

    def _renumber(self, tensor: Tensor) -> int:
        self._alive.append(tensor)
        self._numbers[id(tensor)] = len(self._alive)
        return len(self._alive)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        name, values = getattr(func, "__name__", ""), [*args, *(kwargs or {}).values()]
        tensors = [t for value in values for t in _tensors(value)]
        read = tuple(self.number(t) for t in tensors if id(t) not in self._owners)
        owners = tuple(dict.fromkeys(fqn for t in tensors for fqn in self._owners.get(id(t), ())))
        names = tuple(dict.fromkeys(one for t in tensors if id(t) in self._owners for one in self._names[id(t)]))
        result = func(*args, **(kwargs or {}))
        outputs = list(_tensors(args[0] if name in _WRITES else result))
        for tensor in outputs:
            if read:  # changed in place by the network's values, it is one of them
                self._owners.pop(id(tensor), None)
            elif owners and id(tensor) not in self._owners:
                self._alive.append(tensor)
                self._owners[id(tensor)] = owners  # computed from parameters alone: a standardized weight, a slice
                self._names[id(tensor)] = names
        made = tuple(self._renumber(t) for t in outputs if id(t) not in self._owners)
        if made or (owners and not read) or name in _READS:
            self.operations.append(Operation(
                name, read, made[0] if len(made) == 1 else None, owners[0] if len(owners) == 1 else None,
                tuple(value for value in values if not isinstance(value, Tensor)), made, owners, names,
                self._running[-1], outputs[0].ndim if outputs else 0,
            ))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
