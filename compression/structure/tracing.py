"""Dependency groups of convolutional networks, by Torch-Pruning's tracer (DepGraph, Fang et al., arXiv 2301.12900).

The tracer follows autograd's graph; on some networks it does not come to an end, so its time is bounded.
"""

import copy
import ctypes
import threading
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from compression.errors import NotApplicableError
from compression.structure.records import ChannelGroup, Member, Role

_SECONDS = 20.0
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def traced_groups(
    model: nn.Module, example_input: Tensor, ignored: tuple[str, ...]
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Groups of a convolutional network whose members all have the same channels in the same order.

    Raises:
        NotApplicableError: if tracing fails or takes too long.
    """
    traced = copy.deepcopy(model)
    names = {module: fqn for fqn, module in traced.named_modules()}
    graph = _bounded(lambda: _build(traced, example_input))
    kept_back = [traced.get_submodule(fqn) for fqn in ignored]
    groups, reasons = [], {}
    for found in graph.get_all_groups(ignored_layers=kept_back, root_module_types=[nn.Conv2d, nn.Linear]):
        record = _record(found, names, graph)
        if isinstance(record, str):
            reasons[names[found[0].dep.target.module]] = record
        else:
            groups.append(record)
    return groups, reasons


def _build(model: nn.Module, example_input: Tensor) -> Any:
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    with torch.enable_grad():
        return torch_pruning.DependencyGraph().build_dependency(model, example_inputs=example_input.clone())


def _record(found: Any, names: dict[nn.Module, str], graph: Any) -> ChannelGroup | str:
    channels = list(range(len(found[0].idxs)))
    members: list[Member] = []
    for item in found:
        module = item.dep.target.module
        if module not in names:
            continue  # reshapes, additions and the like have no weights
        if list(item.idxs) != channels:
            return "its channels are regrouped on the way (flattened, split or concatenated)"
        role = _role(module, item.dep.handler, graph)
        if role is None:
            return f"its channels reach a {type(module).__name__}"
        member = Member(names[module], role)
        if member not in members:
            members.append(member)
    producers = [m for m in members if m.role == "out"]
    if not producers:
        return "its channels are those of the network's input"
    kind = "neuron" if isinstance(found[0].dep.target.module, nn.Linear) else "channel"
    return ChannelGroup(producers[0].fqn, len(channels), 1, tuple(members), kind, coupled=len(producers) > 1)


def _role(module: nn.Module, handler: Any, graph: Any) -> Role | None:
    if isinstance(module, _NORMS):
        return "norm"
    if isinstance(module, nn.Conv2d) and module.groups == module.in_channels == module.out_channels:
        return "depthwise"
    if isinstance(module, nn.Conv2d) and module.groups > 1:
        return None
    if isinstance(module, nn.Conv2d | nn.Linear):
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
        reason = " ".join(str(outcome["error"]).split())[:120]
        raise NotApplicableError(f"its structure could not be traced ({type(outcome['error']).__name__}: {reason})")
    return outcome["value"]
