"""What a group of coupled channels consists of."""

from dataclasses import dataclass
from typing import Literal

Role = Literal["out", "in", "norm", "depthwise"]


@dataclass(frozen=True)
class Member:
    """One module of a group.

    Attributes:
        fqn: The module.
        role: "out" loses output channels, "in" input channels, "norm" channels of a normalisation, "depthwise" both.
    """

    fqn: str
    role: Role


@dataclass(frozen=True)
class ChannelGroup:
    """Units that are removed together from all members.

    Attributes:
        name: fqn of the first producer.
        units: Number of units (channels, neurons or heads).
        width: Channels per unit: the head size for heads, else 1.
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

    def producers(self) -> list[str]:
        """Modules that make the channels."""
        return [m.fqn for m in self.members if m.role == "out"]

    def consumers(self) -> list[str]:
        """Modules that read the channels."""
        return [m.fqn for m in self.members if m.role == "in"]
