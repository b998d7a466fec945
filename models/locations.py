"""Where data sets and weights that are not part of the project are looked for, and where they are put."""

import os
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[1]


def cache_folder() -> Path:
    """Folder of what is downloaded or decoded: ``COMPRESSION_HOME``, else the user's cache folder."""
    if chosen := os.environ.get("COMPRESSION_HOME"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "compression-dashboard"


def download_folder() -> Path:
    """Folder that downloaded data sets are put into, in torchvision's own layouts."""
    return cache_folder() / "data"


def weights_folder() -> Path:
    """Folder of downloaded weights: torch.hub's, below ``TORCH_HOME``, so that torchvision finds them too."""
    from torch import hub

    return Path(hub.get_dir()) / "checkpoints"


def data_roots() -> list[Path]:
    """Folders as they are searched: ``COMPRESSION_DATA``, ``shared/data`` beside the project, what was downloaded."""
    chosen = os.environ.get("COMPRESSION_DATA")
    roots = [Path(chosen).expanduser()] if chosen else []
    return [*roots, _PROJECT.parent / "shared" / "data", download_folder()]


def find_data(relative: str) -> Path | None:
    """First existing file or folder of that name below the data roots."""
    for root in data_roots():
        if (root / relative).exists():
            return root / relative
    return None


def find_reference_weights(name: str) -> Path | None:
    """A weights file below the data roots."""
    return find_data(f"weights/{name}")
