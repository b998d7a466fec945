"""What one layer's compression does to a network: error and size of the network in which only that layer changed."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from compression.artifact.packing import pack_model
from compression.context import CompressionContext, StepReport
from compression.experiments.tasks import Task, load_task
from compression.layers import weight_layers
from compression.metrics.macs import MacsReport, count_macs
from compression.recipe import Recipe
from compression.state import state_of
from compression.techniques import Technique


@dataclass(frozen=True)
class Probed:
    """One layer at one setting.

    Attributes:
        error: Divergence of the network's outputs from the original's: mean Kullback-Leibler divergence (nats), or of
            a regression the mean squared difference over the outputs' variance.
        accuracy_drop: Quality (accuracy, R2) lost on the same samples, a fraction; below 0 where some was won.
        size_bytes: Bytes of the layer's tensors in a packed file.
        macs: Multiply-accumulates of the layer.
    """

    error: float
    accuracy_drop: float
    size_bytes: int
    macs: int


class Prober:
    """Compresses single layers of one model and compares predictions on a fixed sample of the training split.

    Args:
        task: Model and data.
        cache_dir: Where statistics are kept, or are already.
    """

    def __init__(self, task: Task, cache_dir: Path) -> None:
        self._original = task.load_model()
        self._context = task.context(self._original, 0, cache_dir, lambda fraction, message: None, bool)
        self._problem = task.problem
        split = task.probing_split(self._problem.sizes.probing)
        self._inputs = task.prepare(split.inputs[:]).split(self._problem.sizes.probing_batch)
        self._targets = split.targets.flatten()

    def layers(self) -> list[str]:
        """fqns of the weight layers; of those that share one weight the first."""
        first = {id(layer.weight): fqn for fqn, layer in reversed(list(weight_layers(self._original)))}
        return list(reversed(first.values()))

    def probe(self, fqn: str, technique: Technique, knob: str, value: Any, cancelled: Callable[[], bool]) -> Probed:
        """Compress one layer and compare.

        The setting counts for the first and last layer too, which a recipe protects unless it names them.

        Raises:
            NotApplicableError: if the technique cannot act on this layer alone.
            CancelledError: if `cancelled` became true.
        """
        torch.manual_seed(0)
        model = self._compressed(fqn, technique, {knob: value}, cancelled)
        output = self._predict(model)
        original = self._predictions
        return Probed(
            error=self._problem.divergence(output, original),
            accuracy_drop=self._accuracy(original) - self._accuracy(output),
            size_bytes=packed_bytes(model, fqn),
            macs=self._macs_of(model, fqn),
        )

    def _compressed(
        self, fqn: str, technique: Technique, setting: dict[str, Any], cancelled: Callable[[], bool]
    ) -> nn.Module:
        alone = {"scope": "layer"} if "scope" in technique.config_type.__dataclass_fields__ else {}
        context: CompressionContext = replace(
            self._context, include=(fqn,), overrides={fqn: dict(setting)}, report=StepReport(), cancelled=cancelled
        )
        config = technique.config_type(**alone, **setting)
        return technique.function(copy.deepcopy(self._original), config, context).eval()

    @torch.inference_mode()
    def _predict(self, model: nn.Module) -> Tensor:
        """Outputs, (samples or tokens, classes or 1), float64."""
        return torch.cat([self._problem.flat(model(batch)).double() for batch in self._inputs])

    @cached_property
    def _predictions(self) -> Tensor:
        return self._predict(self._original)

    def _accuracy(self, predictions: Tensor) -> float:
        return self._problem.quality_of(predictions, self._targets)

    @cached_property
    def _macs(self) -> MacsReport:
        return count_macs(self._original, self._context.example_input)

    def _macs_of(self, model: nn.Module, fqn: str) -> int:
        now, before = model.get_submodule(fqn), self._original.get_submodule(fqn)
        if type(now) is type(before) and now.weight.shape == before.weight.shape:  # type: ignore[union-attr]
            return self._macs.by_layer.get(fqn, 0)
        counted = count_macs(model, self._context.example_input).by_layer
        return sum(macs for name, macs in counted.items() if name == fqn or name.startswith(f"{fqn}."))


def packed_bytes(model: nn.Module, fqn: str) -> int:
    """Bytes of one layer's tensors, and of the parts it was split into, in a packed file; the header left out."""
    part = nn.Module()
    part.add_module("layer", model.get_submodule(fqn))
    whole, own = state_of(model), state_of(part)
    for table, found in ((own.encodings, whole.encodings), (own.masks, whole.masks)):
        inside = {name: value for name, value in found.items() if name.startswith(f"{fqn}.")}
        table.update({f"layer.{name.removeprefix(f'{fqn}.')}": value for name, value in inside.items()})  # type: ignore[attr-defined]
    with TemporaryDirectory() as folder:
        return sum(pack_model(part, Path(folder) / "layer.packed").bytes_by_tensor.values())


@lru_cache(maxsize=1)
def prober(model: str, dataset: str, cache_dir: Path) -> Prober:
    """The prober of a model, kept for the next layer.

    Raises:
        InputError: if model or dataset are unknown or unavailable.
    """
    return Prober(load_task(Recipe(model, dataset)), cache_dir)
