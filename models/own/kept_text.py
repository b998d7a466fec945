"""SST-2 in the word pieces of a user's text classifier: each vocabulary is a data set of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from models.datasets import sst2
from models.datasets.registry import Dataset, DatasetInfo, Split, has_data
from models.datasets.sentences import read_tokenizer
from models.errors import ModelError
from models.own.keeping import own_folder
from models.own.kept_models import SHELF, KeptModel

TOKENIZER = "tokenizer.json"
_SUFFIX = "_sst2"
_TEXT = "text_classification"


def dataset_name(model: str) -> str:
    """Name of the data set that belongs to a model's vocabulary."""
    return f"{model}{_SUFFIX}"


def _model_of(name: str) -> KeptModel | None:
    kept = SHELF.get(name.removesuffix(_SUFFIX)) if name.endswith(_SUFFIX) else None
    return kept if kept is not None and kept.info.dataset == name and _tokenizer(name).is_file() else None


def _tokenizer(name: str) -> Path:
    return own_folder("models") / name.removesuffix(_SUFFIX) / TOKENIZER


def entry(name: str) -> tuple[DatasetInfo, Callable[[], Dataset]] | None:
    """Record and loader of one, or None."""
    kept = _model_of(name)
    if kept is None:
        return None
    info = replace(
        sst2.INFO, name=name, title=f"SST-2 in the word pieces of {name.removesuffix(_SUFFIX)}",
        input_shape=kept.info.input_shape,
    )
    return info, lambda: _load(info)


def entries() -> dict[str, tuple[DatasetInfo, Callable[[], Dataset]]]:
    """Records and loaders by name, for the registry."""
    found = {kept.info.dataset: entry(kept.info.dataset) for kept in SHELF.all().values() if kept.info.task == _TEXT}
    return {name: own for name, own in found.items() if own is not None}


def identity(name: str) -> str:
    """Changes when another model takes the name."""
    kept = _model_of(name)
    return "" if kept is None else f"{name}-{kept.created}"


def paths(name: str) -> tuple[Path, ...]:
    """The tokenizer; empty where SST-2 itself is not here."""
    return (_tokenizer(name),) if _model_of(name) is not None and has_data(sst2.INFO.name) else ()


def is_here(name: str) -> bool:
    """Whether the tokenizer and SST-2 are there."""
    return bool(paths(name))


def code_module() -> str:
    """Name of the module whose code reads the datasets."""
    return __name__


def _load(info: DatasetInfo) -> Dataset:
    """Token ids (N, T), begun and ended by the tokenizer's own marks, padded as the model's configuration says."""
    kept = _model_of(info.name)
    if kept is None:
        raise ModelError(f"the data set {info.name!r} is not here: its model was removed")
    tokenizer, length = read_tokenizer(_tokenizer(info.name)), info.input_shape[0]
    config = kept.description.kind.config or {}
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=int(config.get("pad_token_id") or 0))

    def split(sentences: list[str], labels: list[int]) -> Split:
        ids = torch.tensor([found.ids for found in tokenizer.encode_batch(sentences)], dtype=torch.int64)
        vocabulary = int(config.get("vocab_size") or 0)
        if vocabulary and int(ids.max()) >= vocabulary:
            raise ModelError(f"{TOKENIZER} gives the id {int(ids.max())}, the model's vocabulary has {vocabulary}")
        return Split(ids, torch.tensor(labels, dtype=torch.int64))

    return Dataset(info, split(*sst2.training_sentences()), split(*sst2.dev_sentences()))
