"""How large what a file declares may be; all of it is checked before memory is taken."""

LARGEST_FILE = 2_000_000_000
"""Bytes of a file and of its external data together."""
MOST_NODES = 50_000
MOST_TENSORS = 50_000
MOST_DIMENSIONS = 12
LARGEST_ACTIVATION = 2**27
"""Values of one intermediate tensor, per sample."""
LARGEST_FOLDED = 2**25
"""Values of one tensor that is computed from constants."""
ALL_FOLDED = 2**27
"""Values of all these tensors together."""
EARLIEST_OPSET = 11
