"""Dependency groups of convolutional networks, by Torch-Pruning's tracer (DepGraph, Fang et al., arXiv 2301.12900).

The tracer follows autograd's graph; on some networks it does not come to an end, so its time is bounded.
"""

import copy
import ctypes
import logging
import sys
import threading
import warnings
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from compression.core.errors import NotApplicableError
from compression.layers import is_conv2d, is_linear, layer_kind
from compression.other_weights import other_modules
from compression.structure.concatenation import Slice, joined_slices
from compression.structure.records import ChannelGroup, Member, Role

logger = logging.getLogger(__name__)
_SECONDS = 20.0
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_ADDITIONS = ("Add", "Sub")
_REGROUPED = "its channels are regrouped on the way (flattened, split or concatenated)"


def traced_groups(
    model: nn.Module, example_input: Tensor, ignored: tuple[str, ...]
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Groups of a convolutional network whose members all have the same channels in the same order.

    Modules whose outputs are concatenated and then read as a whole form one group, each with its part of the channels.

    Raises:
        NotApplicableError: if tracing fails or takes too long.
    """
    traced = copy.deepcopy(model)
    opaque = [(fqn, type(m).__name__) for fqn, m in other_modules(model) if isinstance(m, _RECURRENT)]
    names = {module: fqn for fqn, module in traced.named_modules()}
    try:
        graph, listed = _bounded(lambda: _build(traced, example_input, ignored))
    except NotApplicableError:
        if not opaque:
            raise
        named = ", ".join(f"{fqn} ({kind})" for fqn, kind in opaque[:3])
        raise NotApplicableError(f"channels are not followed through recurrent layers: {named}") from None
    groups, slices, reasons = [], [], {}
    for found in _joined_by_grouped(listed):
        record = _record(found, names, graph)
        if isinstance(record, str):
            reasons[names[found[0].dep.target.module]] = record
        elif isinstance(record, Slice):
            slices.append(record)
        else:
            groups.append(record)
    joined, left = joined_slices(slices, traced)
    reasons |= dict.fromkeys(left, "its channels are concatenated with others that cannot be removed")
    return groups + joined, reasons


def _build(model: nn.Module, example_input: Tensor, ignored: tuple[str, ...]) -> tuple[Any, list[Any]]:
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a network has parameters outside its layers is nothing to a user
        graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example_input.clone())
        kept_back = [model.get_submodule(fqn) for fqn in ignored]
        kinds = [nn.Conv2d, nn.Linear]
        return graph, list(graph.get_all_groups(ignored_layers=kept_back, root_module_types=kinds))


def _joined_by_grouped(listed: list[Any]) -> list[list[Any]]:
    """The tracer's groups; those before and behind one grouped convolution as one, as it keeps its channels' order."""
    joined: list[list[Any]] = []
    for found in listed:
        items, rest = list(found), []
        for other in joined:
            if not _grouped_modules(items) & _grouped_modules(other):
                rest.append(other)
            else:  # the layer in front gives the group its name
                items = other + items if _is_grouped(items[0].dep.target.module) else items + other
        joined = [*rest, items]
    return joined


def _grouped_modules(found: Any) -> set[nn.Module]:
    return {item.dep.target.module for item in found if _is_grouped(item.dep.target.module)}


def _is_grouped(module: Any) -> bool:
    return is_conv2d(module) and 1 < module.groups < module.in_channels


def _record(found: Any, names: dict[nn.Module, str], graph: Any) -> ChannelGroup | Slice | str:
    channels = list(range(len(found[0].idxs)))
    members: list[Member] = []
    readers: set[str] = set()
    first = 0
    operations = [item.dep.target.name for item in found if item.dep.target.module not in names]
    widths = {1}
    for item in found:
        module = item.dep.target.module
        if module not in names:
            continue  # reshapes, additions and the like have no weights
        role, offset = _role(module, item.dep.handler, graph), item.idxs[0]
        if list(item.idxs) != [offset + c for c in channels] or _channels(module, role) < offset + len(channels):
            return _REGROUPED
        if role is None:
            kind = "grouped " * (getattr(module, "groups", 1) > 1) + type(module).__name__
            return f"its channels reach a {kind}"
        if _channels(module, role) > len(channels):
            if role != "in" or (readers and offset != first) or any("Reshape" in name for name in operations):
                return _REGROUPED
            readers.add(names[module])
            first = offset
        else:
            member = Member(names[module], role)
            if member not in members:
                members.append(member)
            if role == "depthwise":
                widths.add(module.in_channels // module.groups)
    producers = [m for m in members if m.role == "out"]
    if not producers:
        return "its channels are those of the network's input"
    if readers:
        return Slice(tuple(members), frozenset(readers), first, len(channels)) if widths == {1} else _REGROUPED
    if len(widths) > 2:
        return "its channels are grouped in several ways"
    kind = "neuron" if is_linear(found[0].dep.target.module) else "channel"
    added = any(word in name for name in operations for word in _ADDITIONS)
    coupled = len(producers) > 1 and added  # gates are several producers too, but nothing is lost with both of a pair
    return ChannelGroup(producers[0].fqn, len(channels) // max(widths), max(widths), tuple(members), kind, coupled)


def _channels(module: nn.Module, role: Role | None) -> int:
    """Channels of a module on the side that a role is about."""
    if role == "in":
        return module.in_channels if is_conv2d(module) else module.in_features
    names = ("out_channels", "out_features", "num_features")
    return next((getattr(module, name) for name in names if hasattr(module, name)), sys.maxsize)


def _role(module: nn.Module, handler: Any, graph: Any) -> Role | None:
    if isinstance(module, _NORMS):
        return "norm"
    if is_conv2d(module) and module.groups > 1:
        return "depthwise" if module.in_channels == module.out_channels else None
    if layer_kind(module) is not None:
        return "out" if graph.is_out_channel_pruning_fn(handler) else "in"
    return None


def _bounded(work: Any) -> Any:
    """Run a function in a thread and interrupt it when its time is over.

    Raises:
        NotApplicableError: then, or when it fails.
    """
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["value"] = work()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    if thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeoutError))
        raise NotApplicableError(f"its structure could not be traced within {_SECONDS:.0f} s")
    if "error" in outcome:
        logger.info("the tracer of channels failed", exc_info=outcome["error"])
        raise NotApplicableError("its structure could not be traced: the tracer does not know one of its operations")
    return outcome["value"]
