"""The module that an ONNX file becomes: layers under the file's names, and the steps that connect them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Held:
    """A parameter or buffer of the network as an operand."""

    name: str


@dataclass(frozen=True)
class Extent:
    """A length that follows the batch: ``multiple * batch + offset``."""

    multiple: int
    offset: int = 0

    def at(self, batch: int) -> int:
        """The length for a batch size."""
        return self.multiple * batch + self.offset


Operand = str | Held | int | float | bool
Length = int | Extent


@dataclass(frozen=True)
class Step:
    """One call.

    Attributes:
        outputs: Names of what it makes; "" where that is not read.
        inputs: Names of values, held tensors and numbers.
        function: What is called with them; None where a layer is.
        layer: Name of the layer that is called.
        settings: Named arguments.
        batched: Whether the function is also given the batch size.
    """

    outputs: tuple[str, ...]
    inputs: tuple[Operand, ...]
    function: Callable[..., Any] | None = None
    layer: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    batched: bool = False


class OnnxNetwork(nn.Module):
    """Runs the steps of an imported graph; every layer of the file is a submodule under its name in the file.

    Args:
        input_name: Name of the value that is given.
        output_name: Name of the value that is returned.
    """

    def __init__(self, input_name: str, output_name: str) -> None:
        super().__init__()
        self.input_name, self.output_name = input_name, output_name
        self.steps: list[Step] = []
        self._last_read: list[tuple[str, ...]] = []

    def connect(self, steps: Sequence[Step]) -> None:
        """Take the steps, in the order in which they run; those whose results are not read are left out."""
        wanted, kept = {self.output_name}, []
        for step in reversed(steps):
            if any(name in wanted for name in step.outputs):
                kept.append((step, tuple({n for n in step.inputs if isinstance(n, str) and n not in wanted})))
                wanted.update(name for name in step.inputs if isinstance(name, str))
        self.steps = [step for step, _ in reversed(kept)]
        self._last_read = [names for _, names in reversed(kept)]

    def forward(self, x: Tensor) -> Tensor:
        """Run a batch (N, ...)."""
        return self.run(x, ())[self.output_name]

    def run(self, x: Tensor, kept: Sequence[str]) -> dict[str, Tensor]:
        """Run a batch and keep some values besides the output.

        Args:
            x: (N, ...).
            kept: Names of values; those that are not made are left out.
        """
        values: dict[str, Any] = {self.input_name: x}
        found: dict[str, Tensor] = {}
        wanted = {*kept, self.output_name}
        for step, last in zip(self.steps, self._last_read, strict=True):
            results = self._call(step, values, x.shape[0])
            results = results if len(step.outputs) > 1 else (results,)
            values.update(zip(step.outputs, results, strict=True))
            found.update({name: values[name] for name in step.outputs if name in wanted})
            for name in last:
                if name not in wanted:
                    del values[name]
        return found if self.steps else {self.output_name: x}

    def _call(self, step: Step, values: Mapping[str, Any], batch: int) -> Any:
        operands = [self._operand(operand, values) for operand in step.inputs]
        if step.layer is not None:
            return self.get_submodule(step.layer)(*operands)
        assert step.function is not None
        if step.batched:
            return step.function(*operands, **step.settings, batch=batch)
        return step.function(*operands, **step.settings)

    def _operand(self, operand: Operand, values: Mapping[str, Any]) -> Any:
        if isinstance(operand, str):
            return values[operand]
        if isinstance(operand, Held):
            owner, _, name = operand.name.rpartition(".")
            return getattr(self.get_submodule(owner), name)
        return operand
