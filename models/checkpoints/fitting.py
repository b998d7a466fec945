"""A checkpoint's tensors under the names and in the types of a network: all of them, or nothing is loaded."""

import copy
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints.files import Checkpoint
from models.checkpoints.names import stacks, strip, without_wrappers
from models.checkpoints.parametrized import bake
from models.checkpoints.report import ImportReport, listed
from models.errors import ModelError

_COUNTER = "num_batches_tracked"
_PROFILER = re.compile(r"(?:^|\.)(?:total_ops|total_params)$")
_AVERAGE = re.compile(r"(?:^|\.)n_averaged$")
_BESIDE = re.compile(r"^(?:criterion|loss\w*|metrics?|(?:train|val|valid|test)_\w+|accuracy|acc)\.|^decay$")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class MismatchError(ModelError):
    """Names, shapes or types of a checkpoint that are not the network's.

    Args:
        message: Which and how many.
        missing: Names that the network has and the checkpoint lacks.
        unknown: Names that the network has not.
        shapes: Shapes in the checkpoint and in the network, by name, where they differ.
    """

    def __init__(
        self, message: str, missing: tuple[str, ...] = (), unknown: tuple[str, ...] = (),
        shapes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] | None = None,
    ) -> None:
        super().__init__(message)
        self.missing, self.unknown, self.shapes = missing, unknown, dict(shapes or {})

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (str(self), self.missing, self.unknown, self.shapes)


@dataclass
class _Attempt:
    """Tensors under the names that one stack of prefixes gives."""

    prefix: str
    tensors: dict[str, Tensor]
    report: ImportReport
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def load_checkpoint(model: nn.Module, checkpoint: Checkpoint, name: str) -> ImportReport:
    """Put a checkpoint's tensors into a network, in place: all of them, or nothing.

    Args:
        model: The network.
        checkpoint: What was read.
        name: What the weights are called in errors.

    Returns:
        What was stripped, dropped, baked and cast.

    Raises:
        MismatchError: if names, shapes or types differ; it says which and how many.
    """
    state, report = fit(model, checkpoint, name)
    model.load_state_dict(state, strict=True)
    return report


def fit(model: nn.Module, checkpoint: Checkpoint, name: str) -> tuple["OrderedDict[str, Tensor]", ImportReport]:
    """A checkpoint's tensors as the network's state dict, and what was done to them; see `load_checkpoint`.

    A stack of prefixes is stripped only where exactly that makes the names those of the network.
    """
    wanted = model.state_dict()
    tensors, attempts = checkpoint.tensors, []
    for prefix in stacks(tensors):
        attempt = _attempt(model, wanted, tensors, prefix, checkpoint.report)
        if attempt is not None:
            attempts.append(attempt)
            if not attempt.missing and not attempt.unknown:
                break
    best = min(attempts, key=lambda a: (len(a.missing) + len(a.unknown), len(a.prefix)))
    _check(best, wanted, name)
    best.report.n_stripped = sum(key.startswith(best.prefix) for key in tensors) if best.prefix else 0
    return _state(best, wanted, checkpoint.versions), best.report


def _attempt(
    model: nn.Module, wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], prefix: str, so_far: ImportReport
) -> _Attempt | None:
    found = strip(tensors, prefix)
    if found is None:
        return None
    report = copy.deepcopy(so_far)
    report.prefix = prefix
    found, report.n_wrapped = without_wrappers(found, wanted)
    bake(found, set(wanted), report)
    for fqn, module in model.named_modules(remove_duplicate=False):
        adapt = getattr(module, "adapt_state", None)
        if adapt is not None:
            adapt(found, f"{fqn}." if fqn else "")
    for key, value in wanted.items():
        if key.endswith(_COUNTER):
            found.setdefault(key, value)
    _drop(found, wanted, "left by a profiler", _PROFILER, report)
    _drop(found, wanted, "counters of an averaging", _AVERAGE, report)
    if prefix:
        _drop(found, wanted, "beside the network", _BESIDE, report)
    return _Attempt(
        prefix, found, report, [key for key in wanted if key not in found], [key for key in found if key not in wanted]
    )


def _drop(
    found: dict[str, Tensor], wanted: Mapping[str, Tensor], reason: str, pattern: re.Pattern[str], report: ImportReport
) -> None:
    names = [key for key in found if key not in wanted and pattern.search(key)]
    for key in names:
        del found[key]
    report.drop(reason, names)


def _check(attempt: _Attempt, wanted: Mapping[str, Tensor], name: str) -> None:
    found = attempt.tensors
    both = [key for key in wanted if key in found]
    shapes = {key: (tuple(found[key].shape), tuple(wanted[key].shape)) for key in both
              if found[key].shape != wanted[key].shape}
    types = [key for key in both if not _can_be_cast(found[key], wanted[key].dtype)]
    problems = [
        _listed("missing", attempt.missing), _listed("unknown", attempt.unknown),
        _listed("of another shape", [f"{k} ({_shape(a)} instead of {_shape(b)})" for k, (a, b) in shapes.items()]),
        _listed("of another type", [f"{k} ({_type(found[k])} instead of {_type(wanted[k])})" for k in types]),
    ]
    if any(problems):
        stripped = f" after the prefix {attempt.prefix!r} is stripped" if attempt.prefix else ""
        text = f"the weights of {name!r} do not fit{stripped}: " + "; ".join(filter(None, problems))
        raise MismatchError(text, tuple(attempt.missing), tuple(attempt.unknown), shapes)


def _can_be_cast(found: Tensor, wanted: torch.dtype) -> bool:
    """Floats of any width, whole numbers of any, and whole numbers that an averaging or a cast has made floats."""
    if wanted.is_floating_point:
        return found.dtype in _FLOATS
    if found.dtype in _FLOATS and wanted is not torch.bool:
        return torch.equal(found, found.round())
    return found.dtype == wanted or not (found.is_floating_point() or found.is_complex())


def _state(
    attempt: _Attempt, wanted: Mapping[str, Tensor], versions: Mapping[str, Any]
) -> "OrderedDict[str, Tensor]":
    """A state dict with the versions of its modules: those that the file states, else the network's own."""
    state: OrderedDict[str, Tensor] = OrderedDict()
    for key, like in wanted.items():
        value = attempt.tensors[key]
        if value.dtype != like.dtype and like.is_floating_point:
            kind = _type(value)
            attempt.report.cast[kind] = attempt.report.cast.get(kind, 0) + 1
        state[key] = value.to(like.dtype)
    own = getattr(wanted, "_metadata", {})
    stated = {f"{key}.".removeprefix(attempt.prefix).removesuffix("."): value for key, value in versions.items()}
    state._metadata = OrderedDict((key, stated.get(key, value)) for key, value in own.items())  # type: ignore[attr-defined]
    return state


def _listed(kind: str, names: list[str]) -> str:
    return f"{len(names)} {kind}: {listed(names)}" if names else ""


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
