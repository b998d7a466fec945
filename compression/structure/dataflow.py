"""Which operation reads what which other one makes, seen by running a model once.

Every call of a torch function is recorded, functional ones included, so no assumption is made about how the model's
code is written; what is opaque (a fused attention, say) is an operation like any other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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
    """

    name: str
    inputs: tuple[int, ...]
    output: int | None
    module: str | None
    settings: tuple[Any, ...]
    made: tuple[int, ...] = ()
    owners: tuple[str, ...] = ()


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
    with recorder:
        output = model(example_input)
    return Dataflow(tuple(recorder.operations), frozenset(recorder.number(t) for t in _tensors(output)))


class _Recorder(TorchFunctionMode):
    """Numbers values; an operation that changes a tensor in place makes a new value of it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self._numbers: dict[int, int] = {}
        self._alive: list[Tensor] = []  # an id must not be given to another tensor
        self._owners: dict[int, tuple[str, ...]] = {}
        for fqn, module in model.named_modules():
            for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                self._owners[id(tensor)] = (*self._owners.get(id(tensor), ()), fqn)

    def number(self, tensor: Tensor) -> int:
        """The value that a tensor holds now."""
        return self._numbers[id(tensor)] if id(tensor) in self._numbers else self._renumber(tensor)

    def _renumber(self, tensor: Tensor) -> int:
        self._alive.append(tensor)
        self._numbers[id(tensor)] = len(self._alive)
        return len(self._alive)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        values = [*args, *(kwargs or {}).values()]
        tensors = [t for value in values for t in _tensors(value)]
        read = tuple(self.number(t) for t in tensors if id(t) not in self._owners)
        owners = tuple(dict.fromkeys(fqn for t in tensors for fqn in self._owners.get(id(t), ())))
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            if read:  # changed in place by the network's values, it is one of them
                self._owners.pop(id(tensor), None)
            elif owners and id(tensor) not in self._owners:
                self._alive.append(tensor)
                self._owners[id(tensor)] = owners  # computed from parameters alone: a standardized weight, a slice
        made = tuple(self._renumber(t) for t in _tensors(result) if id(t) not in self._owners)
        if made or (owners and not read):
            self.operations.append(Operation(
                getattr(func, "__name__", ""), read, made[0] if len(made) == 1 else None,
                owners[0] if len(owners) == 1 else None,
                tuple(value for value in values if not isinstance(value, Tensor)), made, owners,
            ))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
