"""Where the tensors lie in a training checkpoint, and its moving average beside them."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.checkpoints.report import ImportReport
from models.checkpoints.safe_reading import Ignored
from models.errors import ModelError

State = Mapping[str, Any]
CONTAINERS = (
    "state_dict", "model_state_dict", "model_state", "model", "params", "net", "network", "module", "weights",
)
EMA_CONTAINERS = (
    "model_ema", "state_dict_ema", "ema_state_dict", "ema", "ema_model", "params_ema", "model_ema_state_dict",
    "ema_model_state_dict", "module_ema",
)
PLAIN, EMA = "plain weights", "moving average (EMA)"
_EMA_PREFIX = re.compile(r"^(?:ema|ema_model|model_ema|module_ema)\.")
_WRAPPERS = re.compile(r"^(?:(?:module|_orig_mod|model|net)\.)+")
_TRAINING = re.compile(r"optim|opt$|(?:lr_)?sched|scaler|grad_scaler|amp|callbacks|rng|metrics|hist", re.IGNORECASE)
_SCALARS = (str, int, float, bool, type(None), Ignored)
_DEEPEST = 4
_MOST_TIMES, _ALWAYS_ALLOWED = 16, 2**28  # times the bytes of a file, and bytes, that its tensors may take


def find_state(held: Any, ema: bool, report: ImportReport) -> dict[str, Tensor]:
    """The tensors by name in what a file holds.

    Args:
        held: What was read.
        ema: Whether the moving average is wanted rather than the plain weights.
        report: Takes what was opened and ignored.

    Raises:
        ModelError: if there are no tensors by name, or the moving average is wanted and there is none.
    """
    plain, plain_path = _opened(held, (), CONTAINERS, set())
    averaged, averaged_path = _average_beside(held, (), set())
    if plain is None and averaged is None:
        plain, plain_path = _only_state(held, report)
    if plain is not None and averaged is None:
        plain, averaged = _divided(plain)
        averaged_path = () if averaged is None else (*plain_path, "ema.*")
    if plain is None and averaged is None:
        raise ModelError(f"{report.file} cannot be read as weights: {_why_not(held)}")
    if ema and averaged is None:
        raise ModelError(f"{report.file} holds plain weights only; no moving average (EMA) was found in it")
    chosen, path, other = (averaged, averaged_path, plain_path) if ema or plain is None else (
        plain, plain_path, averaged_path)
    assert chosen is not None
    if averaged is not None:
        report.weights = EMA if chosen is averaged else PLAIN
        report.alternative = "" if plain is None else ".".join(other) or "the other names"
    report.container = ".".join(path)
    report.ignored += _beside(held, path)
    return _tensors(chosen, report)


def _opened(
    held: Any, path: tuple[str, ...], names: tuple[str, ...], seen: set[int]
) -> tuple[State | None, tuple[str, ...]]:
    """A mapping of tensors, perhaps within others, and the entries that lead to it; each mapping is opened once."""
    if not isinstance(held, Mapping) or not held or id(held) in seen:
        return None, path
    seen.add(id(held))
    for name in names:
        inner = held.get(name)
        if isinstance(inner, Mapping) and len(path) < _DEEPEST:
            found = _opened(inner, (*path, name), CONTAINERS, seen)
            if found[0] is not None:
                return found
    return (held, path) if _is_state(held) else (None, path)


def _only_state(held: Any, report: ImportReport) -> tuple[State | None, tuple[str, ...]]:
    """The one mapping of tensors within entries of other names; None where there is none.

    Raises:
        ModelError: if there are several, of which none is known to be the network.
    """
    found = _states_within(held, (), set())
    if len(found) > 1:
        names = ", ".join(".".join(path) for _, path in found[:4])
        raise ModelError(f"{report.file} holds several mappings of tensors ({names}); save the network's alone")
    return found[0] if found else (None, ())


def _states_within(held: Any, path: tuple[str, ...], seen: set[int]) -> list[tuple[State, tuple[str, ...]]]:
    if not isinstance(held, Mapping) or not held or id(held) in seen:
        return []
    seen.add(id(held))
    if _is_state(held):
        return [(held, path)]
    if len(path) >= _DEEPEST:
        return []
    inner = [(key, value) for key, value in held.items() if isinstance(key, str) and not _TRAINING.match(key)]
    return [state for key, value in inner for state in _states_within(value, (*path, key), seen)]


def _is_state(held: State) -> bool:
    values = list(held.values())
    return any(isinstance(value, Tensor) for value in values) and all(
        isinstance(key, str) and isinstance(value, (Tensor, *_SCALARS)) for key, value in held.items()
    )


def _average_beside(
    held: Any, path: tuple[str, ...], seen: set[int]
) -> tuple[State | None, tuple[str, ...]]:
    """A moving average among the entries of a checkpoint or of its containers."""
    if not isinstance(held, Mapping) or len(path) >= _DEEPEST or id(held) in seen:
        return None, path
    seen.add(id(held))
    for name in EMA_CONTAINERS:
        found = _opened(held.get(name), (*path, name), (*CONTAINERS, "shadow"), set())
        if found[0] is not None:
            return found
    for name in CONTAINERS:
        found = _average_beside(held.get(name), (*path, name), seen)
        if found[0] is not None:
            return found
    return None, path


def _divided(state: State) -> tuple[State | None, State | None]:
    """Plain weights and moving average of a state dict that holds both under prefixes ("ema.module.conv.weight")."""
    averaged = {_EMA_PREFIX.sub("", key): value for key, value in state.items() if _EMA_PREFIX.match(key)}
    if not averaged:
        return state, None
    plain = {key: value for key, value in state.items() if not _EMA_PREFIX.match(key)}
    names = {_WRAPPERS.sub("", key) for key in plain}
    counterparts = [_WRAPPERS.sub("", key) in names for key, value in averaged.items() if _has_values(value)]
    if all(counterparts) and counterparts:
        return plain, averaged
    if not any(_has_values(value) for value in plain.values()):
        return None, averaged
    return state, None  # the network itself has a module of that name


def _has_values(value: Any) -> bool:
    """Whether this is a weight rather than a counter."""
    return isinstance(value, Tensor) and value.ndim > 0


def _tensors(state: State, report: ImportReport) -> dict[str, Tensor]:
    others = [key for key, value in state.items() if not isinstance(value, Tensor)]
    report.drop("no tensors", others)
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    _check_values(tensors, report.file)
    return tensors


def _check_values(tensors: Mapping[str, Tensor], file: str) -> None:
    """Refuse tensors without values of their shape, and files that would be far larger in memory than they are."""
    for key, tensor in tensors.items():
        if tensor.is_meta or tensor.layout != torch.strided:
            form = "no values (device meta)" if tensor.is_meta else f"the form {tensor.layout}"
            raise ModelError(f"{file} cannot be read as weights: {key} has {form}; dense tensors are needed")
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors.values()}
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if needed > _MOST_TIMES * sum(held.values()) + _ALWAYS_ALLOWED:
        raise ModelError(
            f"{file} cannot be read as weights: its tensors share their values and would take {needed / 1e9:.1f} GB, "
            f"the file holds {sum(held.values()) / 1e9:.3f} GB"
        )


def _beside(held: Any, path: tuple[str, ...]) -> list[str]:
    """Other entries of the containers that were opened."""
    found: list[str] = []
    for number, name in enumerate(path):
        if not isinstance(held, Mapping) or name not in held:
            break
        averaged = {n for n in held if n in EMA_CONTAINERS}
        found += [".".join((*path[:number], str(key))) for key in held if key != name and key not in averaged]
        held = held[name]
    return found


def _why_not(held: Any) -> str:
    if not isinstance(held, Mapping) or not held:
        kind = "an object of another package" if isinstance(held, Ignored) else f"{type(held).__name__}"
        return f"it holds {kind if held or not isinstance(held, Mapping) else 'nothing'}, not tensors by name"
    strange = next((key for key, value in held.items() if not isinstance(value, Tensor)), None)
    return f"{strange!r} is no tensor" if strange is not None else "its names are no text"
