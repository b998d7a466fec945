"""Shallower students: some of the repeated blocks of a network left out."""

from torch import nn

from compression.core.errors import NotApplicableError
from compression.layers import layer_kind

_STACKS = (nn.TransformerEncoder, nn.TransformerDecoder)


def sequences(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules whose children run one after the other: nn.Sequential, and the layers of PyTorch's transformers."""
    stacked = {id(module.layers) for module in model.modules() if isinstance(module, _STACKS)}
    return [(fqn, m) for fqn, m in model.named_modules() if isinstance(m, nn.Sequential) or id(m) in stacked]


def repeated_blocks(model: nn.Module, lists: bool = False) -> dict[str, list[list[str]]]:
    """Runs of neighbouring blocks of one type and shape in each sequence, by the sequence's fqn.

    Args:
        model: Any network.
        lists: Whether an nn.ModuleList is a sequence too. In which order a forward pass runs its items is unknown, so
            they can share weights, but none can be left out.
    """
    found: dict[str, list[list[str]]] = {}
    known = sequences(model)
    held = {fqn for fqn, _ in known}
    if lists:
        known += [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and n not in held]
    for fqn, module in known:
        runs: list[list[str]] = []
        last: object = None
        for name, child in module.named_children():
            shape = (type(child), tuple((n, tuple(p.shape)) for n, p in child.named_parameters()))
            if not shape[1] or layer_kind(child) is not None:
                last = None
                continue
            if shape == last:
                runs[-1].append(name)
            else:
                runs.append([name])
            last = shape
        long = [run for run in runs if len(run) > 1]
        if long:
            found[fqn] = long
    return found


def drop_every_other_block(model: nn.Module) -> list[str]:
    """Remove every other block of each run, in place; the first of a run stays.

    Returns:
        fqns of the removed blocks.

    Raises:
        NotApplicableError: if no blocks repeat.
    """
    runs = repeated_blocks(model)
    if not runs:
        raise NotApplicableError("it has no repeated blocks of one shape")
    removed = []
    for fqn, listed in runs.items():
        sequence = model.get_submodule(fqn)
        gone = {name for run in listed for name in run[1::2]}
        removed += [f"{fqn}.{name}".lstrip(".") for name in sorted(gone)]
        for name in gone:
            delattr(sequence, name)
    return removed
