"""Where data sets and weights that are not part of the project are looked for."""

import os
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]


def data_roots() -> list[Path]:
    """Folders in the order they are searched: ``COMPRESSION_DATA``, then ``shared/data`` beside the project."""
    chosen = os.environ.get("COMPRESSION_DATA")
    roots = [Path(chosen).expanduser()] if chosen else []
    return [*roots, _PROJECT.parent / "shared" / "data"]


def find_data(relative: str) -> Path | None:
    """First existing file or folder of that name below the data roots."""
    for root in data_roots():
        if (root / relative).exists():
            return root / relative
    return None


def find_reference_weights(name: str) -> Path | None:
    """A weights file below the data roots."""
    return find_data(f"weights/{name}")
