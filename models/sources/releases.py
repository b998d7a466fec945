"""Public weights files of other people: where they are, what they are checked by, who made them."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from models.sources.downloads import RemoteFile
from models.sources.locations import weights_folder


@dataclass(frozen=True)
class Release:
    """One published weights file; not ours, and fetched only when a person asks for it.

    Attributes:
        url: Its public home; the last part is its file name.
        sha256: First hexadecimal digits of its SHA-256.
        source: Who made it.
        license: Under which licence.
        accuracy: Top-1 accuracy that they publish, fraction.
        size_bytes: About its size, where they state it.
        renamed: ``(theirs, ours)``: parts of tensor names that differ.
    """

    url: str
    sha256: str
    source: str
    license: str
    accuracy: float
    size_bytes: int | None = None
    renamed: tuple[tuple[str, str], ...] = ()

    def path(self) -> Path:
        """Where it lies once it has been downloaded: torch.hub's folder, which torchvision reads too."""
        return weights_folder() / self.url.rpartition("/")[2]

    def file(self) -> RemoteFile:
        """It as something to fetch."""
        return RemoteFile(self.url, self.path(), f"sha256:{self.sha256}", self.size_bytes)

    def in_our_names(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Its tensors under the names of our architecture."""
        found = {}
        for name, tensor in tensors.items():
            for theirs, ours in self.renamed:
                name = name.replace(theirs, ours)
            found[name] = tensor
        return found
