"""Whose weights a model has on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from models.errors import ModelError
from models.sources.locations import find_reference_weights

if TYPE_CHECKING:
    from models.info import ModelInfo


@dataclass(frozen=True)
class WeightsOrigin:
    """Whose weights a model has on this machine.

    Attributes:
        path: Their file.
        source: Who made them.
        license: Under which licence.
        published_accuracy: What they state, fraction; None where they state nothing for this file.
        ours: Whether they were trained by this project.
    """

    path: Path
    source: str
    license: str
    published_accuracy: float | None
    ours: bool


def find_origin(info: "ModelInfo", shipped: Path) -> WeightsOrigin:
    """The file that a user's model names; of others the shipped file, else a downloaded release, else the user's.

    Args:
        info: The model.
        shipped: Where a file that comes with the project would lie.

    Raises:
        ModelError: if there is none of them.
    """
    if info.weights is not None:
        return _named(info, Path(info.weights).expanduser())
    if shipped.is_file():
        return WeightsOrigin(shipped, info.source, info.license, info.published_accuracy, ours=True)
    release = info.release
    if release is not None and release.path().is_file():
        return WeightsOrigin(release.path(), release.source, release.license, release.accuracy, ours=False)
    found = None if info.reference_weights is None else find_reference_weights(info.reference_weights)
    if found is None:
        raise ModelError(f"the weights of {info.name!r} are not here; " + _how_to_get(info))
    told = _told_by(found)
    stated = info.published_accuracy if release is None else None  # a release's figure is of the release's file
    return WeightsOrigin(
        found, told.get("source", info.source), told.get("license", info.license), stated, ours=False
    )


def _named(info: "ModelInfo", path: Path) -> WeightsOrigin:
    if not path.is_file():
        raise ModelError(f"the weights of {info.name!r} are not here; its record names {str(path)!r}, which is missing")
    return WeightsOrigin(path, info.source, info.license, info.published_accuracy, ours=False)


def _told_by(path: Path) -> dict[str, str]:
    """What a file's own metadata say."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError):  # what is wrong with it is told when it is loaded
        return {}


def _how_to_get(info: "ModelInfo") -> str:
    ways = []
    if info.release is not None:
        ways.append(f"download them ({info.release.source}) with: python -m compression download {info.name}")
    if info.reference_weights is not None:
        ways.append(f"put {info.reference_weights} into the folder weights below COMPRESSION_DATA")
    return " or ".join(ways) or f"make them with: python -m models.train {info.name}"
