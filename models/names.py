"""Names that models and datasets share: what is added gets one that is not taken."""

from models import registry
from models.datasets import list_datasets


def is_taken(name: str) -> bool:
    """Whether there is a model or dataset of a name."""
    return name in registry.entries() or any(data.name == name for data in list_datasets())
