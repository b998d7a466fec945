"""How many samples pass through a network at once."""

import math
from collections.abc import Sequence

_VALUES = 2**20


def batch_for(shape: Sequence[int], usual: int) -> int:
    """The usual number of samples, fewer of large ones: what layers make of them has to fit into memory.

    Args:
        shape: Of one sample.
        usual: For images of up to 100x100 pixels.
    """
    return max(1, min(usual, usual * _VALUES // (32 * max(1, math.prod(shape)))))
