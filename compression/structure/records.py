"""What a group of coupled channels consists of."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Role = Literal["out", "in", "norm", "depthwise", "table"]


@dataclass(frozen=True)
class Member:
    """One module of a group.

    Attributes:
        fqn: The module.
        role: "out" loses output channels, "in" input channels, "norm" channels of a normalisation, "depthwise" both, of
            a depthwise or grouped convolution; "table" columns of the parameters that a module names in `per_head`.
        part: First channel of the group that the module has and the one behind its last, where several modules lie
            side by side in a concatenation; all of them where None.
    """

    fqn: str
    role: Role
    part: tuple[int, int] | None = None

    def rows(self, channels: Tensor) -> Tensor:
        """Those of the group's channels, ascending, that the module has, by its own numbers."""
        if self.part is None:
            return channels
        first, end = self.part
        return channels[(channels >= first) & (channels < end)] - first


@dataclass(frozen=True)
class ChannelGroup:
    """Units that are removed together from all members.

    Attributes:
        name: fqn of the first producer.
        units: Number of units (channels, neurons or heads).
        width: Channels per unit: the head size for heads, the group's of a grouped convolution, else 1.
        members: Modules that lose them.
        kind: "channel", "neuron" or "head".
        coupled: Whether several producers share the channels through an addition.
    """

    name: str
    units: int
    width: int
    members: tuple[Member, ...]
    kind: Literal["channel", "neuron", "head"]
    coupled: bool = False

    def parts(self) -> list[tuple[int, int]]:
        """Units of each module that lies side by side with others: the first and the one behind the last."""
        found = {m.part for m in self.members if m.part is not None}
        return [(first // self.width, end // self.width) for first, end in sorted(found)]

    def producers(self) -> list[str]:
        """Modules that make the channels."""
        return [m.fqn for m in self.members if m.role == "out"]

    def consumers(self) -> list[str]:
        """Modules that read the channels."""
        return [m.fqn for m in self.members if m.role == "in"]
