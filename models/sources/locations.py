"""Where datasets and weights that are not part of the project are looked for, and where they are put."""

import json
import os
from pathlib import Path

from models.errors import ModelError

_PROJECT = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    """Folder of what is downloaded or decoded: ``COMPRESSION_HOME``, else the user's cache folder."""
    if chosen := os.environ.get("COMPRESSION_HOME"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "compression-dashboard"


def download_folder() -> Path:
    """Folder that downloaded datasets are put into, in torchvision's own layouts."""
    return cache_folder() / "data"


def weights_folder() -> Path:
    """Folder of downloaded weights: torch.hub's, below ``TORCH_HOME``, so that torchvision finds them too."""
    from torch import hub

    return Path(hub.get_dir()) / "checkpoints"


def _settings() -> Path:
    return cache_folder() / "settings.json"


def chosen_data_folder() -> Path | None:
    """The folder that the user chose to have data looked for in; read anew each time, as worker processes do."""
    try:
        chosen = json.loads(_settings().read_text(encoding="utf-8")).get("data_folder")
    except (OSError, ValueError, AttributeError):  # none has been chosen, or the file is none of ours
        return None
    return Path(chosen) if isinstance(chosen, str) and chosen else None


def choose_data_folder(folder: Path | None) -> None:
    """Keep the choice of a data folder, or drop it.

    Raises:
        ModelError: if it is no folder that can be read.
    """
    if folder is not None:
        if not folder.is_absolute():
            raise ModelError(f"{str(folder)!r} is no whole path; one that begins with / or ~ is needed")
        if not folder.is_dir():
            raise ModelError(f"{str(folder)!r} is {'a file' if folder.exists() else 'not there'}; a folder is needed")
        if not os.access(folder, os.R_OK | os.X_OK):
            raise ModelError(f"{str(folder)!r} may not be read by this server")
    path = _settings()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    draft.write_text(json.dumps({"data_folder": None if folder is None else str(folder)}), encoding="utf-8")
    draft.replace(path)


def user_folders() -> dict[str, Path]:
    """Folders that the user named, by where they are named; nothing in them is ever changed."""
    named, chosen = os.environ.get("COMPRESSION_DATA"), chosen_data_folder()
    folders = {"COMPRESSION_DATA": Path(named).expanduser()} if named else {}
    return folders if chosen is None else {**folders, "the chosen data folder": chosen}


def data_roots() -> list[Path]:
    """Folders as they are searched: the user's, ``shared/data`` beside the project, what was downloaded."""
    return [*user_folders().values(), _PROJECT.parent / "shared" / "data", download_folder()]


def place_of(path: Path) -> str:
    """In which of the data roots something lies, in words."""
    for name, folder in user_folders().items():
        if path.is_relative_to(folder):
            return name
    if path.is_relative_to(_PROJECT.parent / "shared" / "data"):
        return "shared/data beside the project"
    if path.is_relative_to(cache_folder() / "own"):
        return "added by you"
    return "downloaded" if path.is_relative_to(download_folder()) else "a folder of yours"


def find_data(relative: str) -> Path | None:
    """First existing file or folder of that name below the data roots."""
    for root in data_roots():
        if (root / relative).exists():
            return root / relative
    return None


def find_reference_weights(name: str) -> Path | None:
    """A weights file below the data roots."""
    return find_data(f"weights/{name}")
