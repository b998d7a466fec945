"""Where results, artifacts and statistics are kept."""

import os
from pathlib import Path


def home() -> Path:
    """Folder of everything the project stores for a user: ``COMPRESSION_HOME``, else the user's cache folder."""
    if chosen := os.environ.get("COMPRESSION_HOME"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "compression-dashboard"
