"""Groups of channels that can only be removed together."""

from collections import OrderedDict

from torch import Tensor, nn

from compression.structure.attention import transformer_groups
from compression.structure.records import ChannelGroup, Member
from compression.structure.tracing import traced_groups

__all__ = ["ChannelGroup", "Member", "find_groups"]
_KEPT = 8
_cache: "OrderedDict[tuple[str, str], tuple[list[ChannelGroup], dict[str, str]]]" = OrderedDict()


def find_groups(
    model: nn.Module, example_input: Tensor, model_key: str, ignored: tuple[str, ...]
) -> tuple[list[ChannelGroup], dict[str, str]]:
    """Removable groups of a model, found once per model and structure.

    Args:
        model: In eval mode.
        example_input: (1, ...).
        model_key: Identity of the uncompressed model.
        ignored: fqns whose outputs must stay (the classifier).

    Returns:
        The groups, and ``fqn -> why`` for what cannot be removed.

    Raises:
        NotApplicableError: if the network cannot be traced within its time.
    """
    shapes = "|".join(f"{n}{tuple(p.shape)}" for n, p in model.named_parameters())
    key = (model_key, shapes)
    if key not in _cache:
        groups = transformer_groups(model)
        _cache[key] = (groups, {}) if groups else traced_groups(model, example_input, ignored)
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
    return _cache[key]
