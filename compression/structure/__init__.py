"""Which channels, neurons and heads of a network belong together, and their removal."""

from compression.structure.groups import ChannelGroup, Member, find_groups
from compression.structure.surgery import remove_units

__all__ = ["ChannelGroup", "Member", "find_groups", "remove_units"]
