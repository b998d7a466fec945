"""Modules whose outputs are concatenated: their channels form one group where a layer reads all of them."""

from dataclasses import dataclass, replace

from torch import nn

from compression.structure.records import ChannelGroup, Member


@dataclass(frozen=True)
class Slice:
    """Channels that are read as a part of a concatenation.

    Attributes:
        members: Modules that have just these channels.
        readers: fqns of the layers that read them among others.
        first: Number of the first of them in the concatenation.
        count: How many they are.
    """

    members: tuple[Member, ...]
    readers: frozenset[str]
    first: int
    count: int


def joined_slices(slices: list[Slice], model: nn.Module) -> tuple[list[ChannelGroup], list[str]]:
    """One group per concatenation all of whose parts are known.

    Args:
        slices: Found in the model.
        model: For the sizes of the readers.

    Returns:
        The groups, and fqns of the producers that are in none.
    """
    by_readers: dict[frozenset[str], list[Slice]] = {}
    for part in slices:
        by_readers.setdefault(part.readers, []).append(part)
    groups, left = [], []
    for readers, parts in by_readers.items():
        parts = sorted(parts, key=lambda part: part.first)
        sizes = {model.get_submodule(fqn).weight.shape[1] for fqn in readers}
        total = sum(part.count for part in parts)
        starts = [sum(part.count for part in parts[:i]) for i in range(len(parts))]
        alone = all(member.role != "in" for part in parts for member in part.members)
        if sizes == {total} and [part.first for part in parts] == starts and alone:
            groups.append(_group(parts, sorted(readers), total))
        else:
            left += [member.fqn for part in parts for member in part.members if member.role == "out"]
    return groups, left


def _group(parts: list[Slice], readers: list[str], total: int) -> ChannelGroup:
    members = [
        replace(member, part=(part.first, part.first + part.count)) for part in parts for member in part.members
    ]
    members += [Member(fqn, "in") for fqn in readers]
    name = next(member.fqn for member in members if member.role == "out")
    return ChannelGroup(name, total, 1, tuple(members), "channel")
