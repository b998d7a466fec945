"""Multiply-accumulates and parameters of a model."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from compression.layers import weight_layers
from compression.other_weights import other_modules


@dataclass(frozen=True)
class MacsReport:
    """Multiply-accumulates of one inference.

    Attributes:
        total: Convolutions and matrix products, those of attention included.
        by_layer: Those of each convolution, linear and recurrent layer, by fqn.
    """

    total: int
    by_layer: dict[str, int]


class _Counter(TorchDispatchMode):
    """Counts multiply-accumulates of convolutions and matrix products as they are executed."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, and importing the compiler only to keep it out takes two seconds."""
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        output = func(*args, **(kwargs or {}))
        self.total += _macs_of(func.overloadpacket, args, output)
        return output


def _macs_of(operator: object, args: tuple[object, ...], output: object) -> int:
    aten = torch.ops.aten
    if operator is aten.convolution:
        weight, transposed = args[1], args[6]
        positions = args[0] if transposed else output
        return positions.numel() * math.prod(weight.shape[1:])  # type: ignore[attr-defined]
    if operator is aten.mkldnn_rnn_layer:
        steps, weights = math.prod(args[0].shape[:2]), args[1:3]  # type: ignore[attr-defined]
        return steps * sum(weight.numel() for weight in weights)  # type: ignore[attr-defined]
    if operator in (aten.mm, aten.bmm):
        return output.numel() * args[0].shape[-1]  # type: ignore[attr-defined]
    if operator is aten.addmm:
        return output.numel() * args[1].shape[-1]  # type: ignore[attr-defined]
    if operator is aten._scaled_dot_product_flash_attention_for_cpu:
        query, key, value = args[:3]
        pairs = math.prod(query.shape[:-1]) * key.shape[-2]  # type: ignore[attr-defined]
        return pairs * (query.shape[-1] + value.shape[-1])  # type: ignore[attr-defined]
    return 0


@torch.no_grad()
def count_macs(model: nn.Module, example_input: Tensor) -> MacsReport:
    """Count by executing the model once on one sample.

    Args:
        model: In eval mode.
        example_input: (N, ...); the count is that of its first sample.
    """
    by_layer: dict[str, int] = {}
    started: dict[str, int] = {}
    counter, handles = _Counter(), []
    for fqn, layer in (*weight_layers(model), *other_modules(model)):

        def before(module: nn.Module, inputs: object, fqn: str = fqn) -> None:
            del module, inputs
            started[fqn] = counter.total

        def after(module: nn.Module, inputs: object, output: object, fqn: str = fqn) -> None:
            del module, inputs, output
            by_layer[fqn] = by_layer.get(fqn, 0) + counter.total - started[fqn]

        handles += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    try:
        with counter:
            model(example_input[:1])
    finally:
        for handle in handles:
            handle.remove()
    return MacsReport(counter.total, by_layer)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Number of parameters, and of those that are not zero; tied ones once."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(int(torch.count_nonzero(p)) for p in parameters)
