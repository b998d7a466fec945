"""ImageNet's 1,000 classes in their usual order: WordNet id and torchvision's name of each."""

from collections import Counter
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).with_name("imagenet_classes.txt")
COUNT = 1000


@lru_cache(maxsize=1)
def _table() -> tuple[tuple[str, ...], tuple[str, ...]]:
    rows = [line.split(" ", 1) for line in _FILE.read_text(encoding="utf-8").splitlines()]
    times = Counter(name for _, name in rows)
    names = tuple(name if times[name] == 1 else f"{name} ({index})" for index, (_, name) in enumerate(rows))
    return tuple(wordnet_id for wordnet_id, _ in rows), names


def wordnet_ids() -> tuple[str, ...]:
    """WordNet ids ("n01440764"), by index."""
    return _table()[0]


def class_names() -> tuple[str, ...]:
    """Names ("tench"), by index; of two that occur twice each has its index behind it."""
    return _table()[1]


def class_indices(folders: list[str]) -> list[int] | None:
    """Indices of folders that are named by WordNet ids, by indices ("217") or by classes; None where one is not."""
    for names in (wordnet_ids(), tuple(str(i) for i in range(COUNT)), tuple(map(_plain, class_names()))):
        known = {name: index for index, name in enumerate(names)}
        asked = [_plain(folder) for folder in folders]
        if asked and all(folder in known for folder in asked):
            return [known[folder] for folder in asked]
    return None


def _plain(name: str) -> str:
    return name.lower().replace("_", " ")
