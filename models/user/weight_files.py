"""Weights files that users name."""

from pathlib import Path

from models.checkpoints import weights_in
from models.sources.locations import find_reference_weights


def find_weights(text: str) -> Path:
    """A path as it is given, else below the data roots' folders of weights; of a folder the weights or index in it."""
    path = Path(text).expanduser()
    found = None if path.is_absolute() or path.exists() else find_reference_weights(text)
    path = (found or path).absolute()
    return weights_in(path) if path.is_dir() else path
