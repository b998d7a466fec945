"""Models' weights and data sets that can be fetched from their public homes, by name."""

from collections.abc import Callable

from compression.errors import CancelledError, InputError
from models import datasets, registry
from models.downloads import Download, Progress, unreported
from models.errors import InterruptedWorkError

__all__ = ["Download", "find_download", "is_here", "run_download"]


def find_download(name: str) -> Download:
    """What a model or data set needs from elsewhere.

    Raises:
        InputError: if nothing of that name can be fetched.
    """
    found = None
    if name in _models():
        found = registry.model_download(name)
    elif name in _datasets():
        found = datasets.dataset_download(name)
    if found is None:
        raise InputError("download", name, "allowed: " + ", ".join(downloadable()))
    return found


def downloadable() -> list[str]:
    """Names of what can be fetched."""
    models = [name for name in _models() if registry.model_download(name) is not None]
    return models + [name for name in _datasets() if datasets.dataset_download(name) is not None]


def is_here(name: str) -> bool:
    """Whether a model or data set can be used without a download."""
    return datasets.has_data(name) if name in _datasets() else registry.has_weights(name)


def run_download(
    download: Download, progress: Progress = unreported, cancelled: Callable[[], bool] = bool
) -> None:
    """Fetch, check and unpack.

    Raises:
        ModelError: if that fails.
        CancelledError: if `cancelled` became true; the next run goes on from there.
    """
    try:
        download.run(progress, cancelled)
    except InterruptedWorkError:
        raise CancelledError("cancelled; the next download goes on from there") from None


def _models() -> list[str]:
    return [info.name for info in registry.list_models()]


def _datasets() -> list[str]:
    return [info.name for info in datasets.list_datasets()]
