"""The first and the last weight layers of a network, in the order in which it executes them.

The order in which modules were registered says nothing: a classifier may be assigned before the layers that feed it.
"""

from collections.abc import Iterator

from torch import Tensor, nn

from compression.layers import custom_layers, weight_layers
from compression.other_weights import other_modules
from compression.structure.dataflow import Dataflow, record_dataflow


def first_and_last(model: nn.Module, example_input: Tensor) -> tuple[str, ...]:
    """fqns of the layer that is executed first and of those that make the network's outputs.

    Args:
        model: In eval mode.
        example_input: (1, ...).

    Returns:
        The first layer, then the output layers; empty where the network has no convolution or linear layer.
    """
    flow, layers = record_dataflow(model, example_input), _layers(model)
    executed = list(_executed(flow, layers))
    if not executed:
        return ()
    outputs = _output_layers(flow, layers) or executed[-1:]
    return tuple(dict.fromkeys([executed[0], *outputs]))


def output_layers(model: nn.Module, example_input: Tensor) -> tuple[str, ...]:
    """fqns of the layers whose outputs reach the network's outputs without another layer between.

    Their output channels are classes, tokens or measured quantities and cannot be removed.
    """
    flow, layers = record_dataflow(model, example_input), _layers(model)
    return tuple(_output_layers(flow, layers))


def read_elsewhere(model: nn.Module, example_input: Tensor) -> set[str]:
    """fqns of modules whose parameters are also read by code outside them, which no other module can take the place of.

    A tied weight that several modules read in their own forward passes is not meant.

    Args:
        model: In eval mode.
        example_input: (1, ...).
    """
    found: set[str] = set()
    for operation in record_dataflow(model, example_input).operations:
        inside = any(operation.within == fqn or operation.within.startswith(f"{fqn}.") for fqn in operation.owners)
        if not inside and "" not in operation.owners:
            found.update(operation.owners)
    return found


def _layers(model: nn.Module) -> set[str]:
    plain = (fqn for found in (weight_layers(model), other_modules(model)) for fqn, _ in found)
    return {*plain, *custom_layers(model)}


def _executed(flow: Dataflow, layers: set[str]) -> Iterator[str]:
    """Layers in the order in which operations first read their parameters."""
    seen: set[str] = set()
    for operation in flow.operations:
        for fqn in operation.owners:
            if fqn in layers and fqn not in seen:
                seen.add(fqn)
                yield fqn


def _output_layers(flow: Dataflow, layers: set[str]) -> list[str]:
    """Walk back from the outputs; what a layer reads is behind it and no longer of interest."""
    makers = {value: operation for operation in flow.operations for value in operation.made}
    found: dict[str, None] = {}
    waiting, seen = sorted(flow.outputs, reverse=True), set(flow.outputs)
    while waiting:
        operation = makers.get(waiting.pop())
        if operation is None:  # the network's input
            continue
        reached = [fqn for fqn in operation.owners if fqn in layers]
        found.update(dict.fromkeys(reached))
        for value in () if reached else operation.inputs:
            if value not in seen:
                seen.add(value)
                waiting.append(value)
    return list(found)
