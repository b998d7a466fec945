"""How many parameters models have, without building them where that is known."""

from functools import lru_cache

import torch

from models import registry
from models.info import ModelInfo


def known_parameters(name: str) -> int | None:
    """Number of parameters of a model where its record or card says it; None where it would have to be built.

    Raises:
        ModelError: if there is no such model.
    """
    return _known(registry.model_info(name))


@lru_cache(maxsize=256)
def count_parameters(name: str) -> int:
    """Number of parameters of a model, tied ones once; the first build of a process takes seconds.

    Raises:
        ModelError: if there is no such model.
    """
    return count_of(*registry.entry(name))


def count_of(info: ModelInfo, factory: registry.Factory) -> int:
    """Parameters of a model, built only where neither its record nor its card knows: the first build takes seconds."""
    known = _known(info)
    if known is not None:
        return known
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in factory().parameters())


def _known(info: ModelInfo) -> int | None:
    known = info.parameters or registry.model_card(info.name).get("parameters")
    return None if known is None else int(known)
