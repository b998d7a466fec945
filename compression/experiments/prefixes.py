"""Networks as the first steps of a recipe left them, kept where the last of these steps trained.

A sweep of a step that comes after a training would otherwise train the same network anew at each of its points.
"""

import copy
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from compression.context import CompressionContext
from compression.experiments.results import TrainingRecord
from compression.recipe import Step, step_to_dict

_KEPT = 4
_MOST_PARAMETERS = 50_000_000
_REFERENCE = ("original", "teacher", "model_key", "protected", "cache_dir")


@dataclass
class Compressed:
    """A model after its steps, and what these report."""

    model: nn.Module
    notes: list[str] = field(default_factory=list)
    trainings: list[TrainingRecord] = field(default_factory=list)

    def copy(self) -> "Compressed":
        """The same with a network and lists of its own."""
        return Compressed(copy.deepcopy(self.model), list(self.notes), list(self.trainings))


@dataclass(frozen=True)
class _Prefix:
    """What was reached, what later steps compare with, and the state of the random numbers."""

    done: Compressed
    reference: dict[str, Any]
    random: Tensor


_prefixes: "OrderedDict[tuple[str, ...], _Prefix]" = OrderedDict()


def _key(context: CompressionContext, steps: Sequence[Step]) -> tuple[str, ...]:
    told = json.dumps([step_to_dict(step) for step in steps], sort_keys=True)
    return (context.model_key, context.data_key, str(context.seed), told)


def remember(start: CompressionContext, steps: Sequence[Step], done: Compressed, reached: CompressionContext) -> None:
    """Keep what the first steps of a recipe led to, if the last of them trained to its end.

    Args:
        start: The context that the recipe began with.
        steps: The steps done.
        done: What they led to.
        reached: The context of the steps to come.
    """
    size = sum(parameter.numel() for parameter in done.model.parameters())
    if any(training.stopped_early for training in done.trainings) or size > _MOST_PARAMETERS:
        return
    reference = {name: getattr(reached, name) for name in _REFERENCE}
    _prefixes[_key(start, steps)] = _Prefix(done.copy(), reference, torch.get_rng_state())
    while len(_prefixes) > _KEPT:
        _prefixes.popitem(last=False)


def longest_known(
    context: CompressionContext, steps: Sequence[Step]
) -> tuple[int, Compressed, CompressionContext] | None:
    """The most first steps of a recipe whose outcome is kept: how many, a copy of it, and the context to go on with.

    The global random numbers go on from where they were then.
    """
    for count in range(len(steps), 0, -1):
        key = _key(context, steps[:count])
        found = _prefixes.get(key)
        if found is not None:
            _prefixes.move_to_end(key)
            torch.set_rng_state(found.random)
            return count, found.done.copy(), replace(context, **found.reference)
    return None
