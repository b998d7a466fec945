"""Prefixes that wrappers leave on the names of tensors."""

import re
from collections.abc import Collection, Iterator, Mapping

from torch import Tensor

PREFIXES = (
    "module.", "_orig_mod.", "model.", "net.", "backbone.", "encoder.", "network.", "_forward_module.",
)
_WRAPPERS = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_DEEPEST = 5


def without_wrappers(tensors: Mapping[str, Tensor], wanted: Collection[str]) -> tuple[dict[str, Tensor], int]:
    """Names without what ``torch.compile`` and FSDP put anywhere in them, where the network itself is not wrapped.

    Returns:
        The tensors, and how many names have changed.
    """
    if any(_WRAPPERS.search(key) for key in wanted):
        return dict(tensors), 0
    changed = sum(_WRAPPERS.search(key) is not None for key in tensors)
    return {_WRAPPERS.sub("", key): value for key, value in tensors.items()}, changed


def stacks(names: Collection[str]) -> Iterator[str]:
    """Stacks of prefixes that some names begin with, the empty one first, shorter ones before longer ones."""
    waiting = [("", 0)]
    while waiting:
        stack, depth = waiting.pop(0)
        yield stack
        if depth < _DEEPEST:
            waiting += [
                (stack + prefix, depth + 1) for prefix in PREFIXES if any(n.startswith(stack + prefix) for n in names)
            ]


def strip(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor] | None:
    """Tensors with a prefix taken off where it is; None where two would have one name."""
    found = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return found if len(found) == len(tensors) else None
