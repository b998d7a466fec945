"""Next-character prediction on the source of Python's own standard library."""

import hashlib
import os
import sysconfig
from pathlib import Path

import numpy as np
import torch

from models.datasets.registry import Dataset, DatasetInfo, Split, register_dataset

VOCABULARY = "\n" + "".join(chr(i) for i in range(32, 127))
UNKNOWN = len(VOCABULARY)
CONTEXT = 128
_TEST_WINDOWS = 240
_EXCLUDED = {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "__pycache__",
             "ensurepip", "encodings", "config", "pydoc_data"}

INFO = DatasetInfo(
    name="python_source", title="Python source", task="language_modeling", num_classes=len(VOCABULARY) + 1,
    input_shape=(CONTEXT,), n_train=0, n_test=_TEST_WINDOWS, license="PSF-2.0",
    source="the standard library of the Python that runs this; it differs a little between versions",
)


def encode(text: str) -> np.ndarray:
    """Characters to ids; tabs become spaces, anything else outside printable ASCII one unknown id. (n,) int64."""
    table = np.full(128, UNKNOWN, dtype=np.int64)
    for index, character in enumerate(VOCABULARY):
        table[ord(character)] = index
    table[ord("\t")] = table[ord(" ")]
    codes = np.frombuffer(text.encode("ascii", "replace").replace(b"\r\n", b"\n"), dtype=np.uint8)
    return table[np.minimum(codes, 127)]


def decode(ids: np.ndarray) -> str:
    """Ids to characters, the unknown one as a question mark."""
    return "".join(VOCABULARY[i] if i < UNKNOWN else "?" for i in ids)


def _modules() -> list[Path]:
    """Source files below the standard library; excluded folders are not even entered."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = []
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if name not in _EXCLUDED]
        paths += [Path(folder) / name for name in files if name.endswith(".py")]
    return sorted(paths, key=lambda p: p.relative_to(root).as_posix())


def _held_out(path: Path) -> bool:
    """Whole modules are held out, chosen by a hash of their name: about one in twelve."""
    return hashlib.sha256(path.stem.encode()).digest()[0] < 21


@register_dataset(INFO)
def python_source() -> Dataset:
    """Windows of 128 characters and the characters that follow them."""
    texts: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for path in _modules():
        texts[_held_out(path)].append(encode(path.read_text(encoding="utf-8", errors="replace")))
    test, train = (np.concatenate(texts[held]) for held in (True, False))
    return Dataset(INFO, _windows(train, None), _windows(test, _TEST_WINDOWS))


def _windows(stream: np.ndarray, count: int | None) -> Split:
    n = (len(stream) - 1) // CONTEXT
    inputs = torch.from_numpy(stream[: n * CONTEXT].reshape(n, CONTEXT).copy())
    targets = torch.from_numpy(stream[1 : n * CONTEXT + 1].reshape(n, CONTEXT).copy())
    whole = Split(inputs, targets)
    return whole if count is None else whole.subset(count, seed=0)
