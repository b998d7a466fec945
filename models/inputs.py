"""Networks that change their input in place: they get a copy, so that the caller's data stay as they are."""

from typing import Any

import torch
from torch import Tensor, nn


class InputGuard:
    """Forward hooks that hand a copy of the input to a network that changes it (``relu_`` or ``sub_`` on the input).

    The first forward pass shows whether it does; from then on others get their input without a copy.

    Attributes:
        copies: Whether the network changes its input; None until it has run.
    """

    def __init__(self) -> None:
        self.copies: bool | None = None
        self._given: Tensor | None = None

    def before(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Replace the input by a copy where that may be needed."""
        if self.copies is False or not args or not isinstance(args[0], Tensor):
            return None
        has_values = type(args[0]) is Tensor and not args[0].is_meta  # a tracer's stand-in has none
        self._given = args[0] if has_values else None
        return (args[0].clone(), *args[1:])

    def after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """See on the first pass whether the copy was changed."""
        if self.copies is None and self._given is not None:
            self.copies = not torch.equal(args[0], self._given)
        self._given = None


def guard_input(model: nn.Module) -> None:
    """Keep a network from changing its caller's data; once."""
    hooks = (getattr(hook, "__self__", None) for hook in model._forward_pre_hooks.values())
    if not any(isinstance(hook, InputGuard) for hook in hooks):
        guard = InputGuard()
        model.register_forward_pre_hook(guard.before)
        model.register_forward_hook(guard.after)
