"""Networks that return more than one tensor: which of them is the prediction."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor, nn

_NAME = "logits"


class PrimaryOutput:
    """Forward hook that gives the prediction alone: of named outputs `logits`, else the first tensor.

    A prediction of one sample that has lost its batch dimension (``squeeze()``) gets it back.

    Attributes:
        chosen: Which output was taken, in words; empty as long as the network returns one tensor.
    """

    def __init__(self) -> None:
        self.chosen = ""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor:
        """The prediction among what a network returned.

        Raises:
            TypeError: if there is no tensor in it.
        """
        if not isinstance(output, Tensor):
            named = dict(_named(output))
            if not named:
                raise TypeError(f"the network returns {type(output).__name__} without a tensor")
            name = _NAME if _NAME in named else next(iter(named))
            output, chosen = named[name], f"Of {len(named)} outputs the prediction is {name}: {', '.join(named)}."
            if self.chosen != chosen:
                self.chosen = chosen
        lost = output.ndim == 1 and bool(args) and isinstance(args[0], Tensor) and args[0].shape[0] == 1
        return output[None] if lost and output.shape[0] != 1 else output


def _named(output: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of an output with their names or numbers; what is nested by its path."""
    if isinstance(output, Tensor):
        yield name, output
        return
    if isinstance(output, Mapping):
        items = [(str(key), value) for key, value in output.items()]
    elif isinstance(output, tuple) and hasattr(output, "_fields"):
        items = list(zip(output._fields, output, strict=True))
    elif isinstance(output, list | tuple):
        items = [(f"output {number + 1}", value) for number, value in enumerate(output)]
    elif is_dataclass(output) and not isinstance(output, type):
        items = [(field.name, getattr(output, field.name)) for field in fields(output)]
    else:
        return
    for key, value in items:
        yield from _named(value, f"{name}.{key}" if name else key)


def give_primary_output(model: nn.Module) -> None:
    """Let a network return its prediction alone; once."""
    if not any(isinstance(hook, PrimaryOutput) for hook in model._forward_hooks.values()):
        model.register_forward_hook(PrimaryOutput())


def chosen_output(model: nn.Module) -> str:
    """Which of several outputs a network's prediction is, in words, once it has run; empty with one output."""
    hooks = (hook for hook in model._forward_hooks.values() if isinstance(hook, PrimaryOutput))
    return next((hook.chosen for hook in hooks), "")
