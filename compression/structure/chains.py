"""Groups found without a trace of dependencies: one layer that alone feeds another, channel by channel.

Stands in where a network cannot be traced as a whole. It finds less: nothing that is added, gated, concatenated,
shuffled or flattened on the way.
"""

from torch import Tensor, nn

from compression.layers import weight_layers
from compression.structure.dataflow import Dataflow, Operation, record_dataflow
from compression.structure.records import ChannelGroup, Member

_LAYERS = ("conv2d", "linear")
_POINTWISE = frozenset({
    "relu", "relu_", "relu6", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "gelu", "silu", "hardswish",
    "hardsigmoid", "sigmoid", "tanh", "elu", "dropout", "contiguous",
})
_SPATIAL = frozenset({"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"})


def chain_groups(model: nn.Module, example_input: Tensor, ignored: tuple[str, ...]) -> list[ChannelGroup]:
    """Groups of one producer and one reader, with the batch norms and depthwise convolutions between them.

    Args:
        model: In eval mode.
        example_input: (1, ...).
        ignored: fqns whose outputs must stay.
    """
    flow = record_dataflow(model, example_input)
    layers = {fqn for fqn, _ in weight_layers(model)}
    once = {fqn: own for fqn, own in flow.once() if own.name not in _LAYERS or fqn in layers}
    found = (
        _follow(fqn, operation, flow, once, model) for fqn, operation in once.items()
        if fqn not in ignored and operation.name in _LAYERS and getattr(model.get_submodule(fqn), "groups", 1) == 1
    )
    return [group for group in found if group is not None]


def _follow(
    fqn: str, first: Operation, flow: Dataflow, once: dict[str, Operation], model: nn.Module
) -> ChannelGroup | None:
    members = [Member(fqn, "out")]
    channels = model.get_submodule(fqn).weight.shape[0]
    operation = flow.reader(first)
    while operation is not None:
        own = operation.module
        if own is not None and own not in once:
            return None
        if operation.name in _LAYERS:
            layer = model.get_submodule(own or "")
            if getattr(layer, "groups", 1) == 1:
                kind = "neuron" if first.name == "linear" else "channel"
                same = operation.name == first.name and layer.weight.shape[1] == channels
                return ChannelGroup(fqn, channels, 1, (*members, Member(own or "", "in")), kind) if same else None
            if not layer.groups == layer.in_channels == layer.out_channels == channels:
                return None
            members.append(Member(own or "", "depthwise"))
        elif operation.name == "batch_norm" and own is not None:
            members.append(Member(own, "norm"))
        elif not (operation.name in _POINTWISE or (operation.name in _SPATIAL and first.name == "conv2d")):
            return None
        operation = flow.reader(operation)
    return None
