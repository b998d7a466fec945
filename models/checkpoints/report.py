"""What an import did to a checkpoint: stripped, dropped, baked and cast; nothing is done in silence."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

_SHOWN = 3


@dataclass
class ImportReport:
    """What was done on the way from a file to a network.

    Attributes:
        file: What the user calls the file.
        shards: Number of files that it consists of.
        container: Entries that were opened to reach the tensors, joined by dots; empty for a plain state dict.
        weights: "plain weights" or "moving average (EMA)".
        alternative: Where the other of the two lies in the file; empty where there is none.
        ignored: Entries beside the tensors, and types of other packages in them.
        prefix: What was stripped from the tensors' names.
        n_stripped: From how many.
        n_wrapped: Number of names from which ``_orig_mod.`` and other wrappers were taken.
        dropped: Names that were dropped, by reason.
        baked: Names of weights that were computed from others, by what was baked in.
        cast: Number of tensors cast to the network's type, by their own type.
        notes: Other sentences: what a file is and what was decided.
    """

    file: str = ""
    shards: int = 1
    container: str = ""
    weights: str = "plain weights"
    alternative: str = ""
    ignored: list[str] = field(default_factory=list)
    prefix: str = ""
    n_stripped: int = 0
    n_wrapped: int = 0
    dropped: dict[str, list[str]] = field(default_factory=dict)
    baked: dict[str, list[str]] = field(default_factory=dict)
    cast: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def drop(self, reason: str, names: Sequence[str]) -> None:
        """Record names that were dropped."""
        if names:
            self.dropped.setdefault(reason, []).extend(names)

    def bake(self, what: str, name: str) -> None:
        """Record a weight that was computed from others."""
        self.baked.setdefault(what, []).append(name)

    def lines(self) -> list[str]:
        """One sentence per thing that was done; one sentence in all where there was nothing to do."""
        found = []
        if self.shards > 1:
            found.append(f"Read from {self.shards} files.")
        if self.container:
            found.append(f"Opened: {self.container}.")
        if self.alternative or self.weights != ImportReport.weights:
            other = f"; the file also holds {_other(self.weights)} ({self.alternative})" if self.alternative else ""
            found.append(f"Weights: {self.weights}{other}.")
        if self.ignored:
            found.append(f"Ignored beside the tensors: {listed(self.ignored, 6)}.")
        if self.prefix:
            found.append(f"Stripped: the prefix {self.prefix!r} of {self.n_stripped} names.")
        if self.n_wrapped:
            found.append(f"Stripped: wrappers such as _orig_mod inside {self.n_wrapped} names.")
        found += [f"Dropped, {reason}: {listed(names)}." for reason, names in self.dropped.items()]
        found += [f"Baked, {what}: {listed(names)}." for what, names in self.baked.items()]
        found += [f"Cast to float32: {count} tensors of {kind}." for kind, count in self.cast.items()]
        found += self.notes
        return found or ["Nothing was stripped, dropped or cast."]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def report_from_dict(data: Mapping[str, Any]) -> ImportReport:
    """Inverse of `ImportReport.to_dict`."""
    return ImportReport(**data)


def _other(weights: str) -> str:
    return "a moving average (EMA)" if weights == ImportReport.weights else "plain weights"


def listed(names: Sequence[str], shown: int = _SHOWN) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{', '.join(names[:shown])}{more}"
