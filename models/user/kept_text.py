"""SST-2 in the word pieces of a user's text classifier: each vocabulary is a dataset of its own."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from models.datasets import sst2
from models.datasets.registry import Dataset, DatasetInfo, Split, has_data
from models.datasets.sentences import read_tokenizer
from models.errors import ModelError
from models.info import ModelInfo
from models.user.keeping import own_folder
from models.user.kept_models import SHELF

TOKENIZER = "tokenizer.json"
_SUFFIX = "_sst2"
_TEXT = "text_classification"


def dataset_name(model: str) -> str:
    """Name of the dataset that belongs to a model's vocabulary."""
    return f"{model}{_SUFFIX}"


@dataclass(frozen=True)
class TextSource:
    """What decides the token ids of a model's text.

    Attributes:
        tokenizer: Its file.
        config: Content of the model's config.json.
        input_shape: (tokens,).
        identity: Changes when another model takes the name.
    """

    tokenizer: Path
    config: Mapping[str, Any]
    input_shape: tuple[int, ...]
    identity: str = ""


_DESCRIBED: dict[str, TextSource] = {}


def describe_source(info: ModelInfo, source: TextSource) -> ModelInfo:
    """Make the dataset of a model known in this process that a recipe describes; returns the record that names it."""
    name = dataset_name(info.name)  # which is made of the state of the folder's files
    _DESCRIBED[name] = replace(source, identity=name)
    return replace(info, dataset=name)


def is_described(name: str) -> bool:
    """Whether a dataset belongs to a model that a recipe describes."""
    return name in _DESCRIBED


def _source_of(name: str) -> TextSource | None:
    kept = SHELF.get(name.removesuffix(_SUFFIX)) if name.endswith(_SUFFIX) else None
    tokenizer = own_folder("models") / name.removesuffix(_SUFFIX) / TOKENIZER
    if kept is None or kept.info.dataset != name or not tokenizer.is_file():
        return _DESCRIBED.get(name)
    config = kept.description.kind.config or {}
    return TextSource(tokenizer, config, kept.info.input_shape, f"{name}-{kept.created}")


def word_piece_tokenizer(name: str) -> Path | None:
    """The tokenizer of one of these datasets, if it cuts words as BERT does and pads with 0; None of others."""
    source = _source_of(name)
    if source is None or int(source.config.get("pad_token_id") or 0) != 0:
        return None
    found = json.loads(source.tokenizer.read_text(encoding="utf-8"))
    kinds = tuple((found.get(part) or {}).get("type") for part in ("model", "normalizer", "pre_tokenizer"))
    return source.tokenizer if kinds == ("WordPiece", "BertNormalizer", "BertPreTokenizer") else None


def entry(name: str) -> tuple[DatasetInfo, Callable[[], Dataset]] | None:
    """Record and loader of one, or None."""
    source = _source_of(name)
    if source is None:
        return None
    info = replace(
        sst2.INFO, name=name, title=f"SST-2 in the word pieces of {name.removesuffix(_SUFFIX)}",
        input_shape=source.input_shape,
    )
    return info, lambda: _load(info)


def entries() -> dict[str, tuple[DatasetInfo, Callable[[], Dataset]]]:
    """Records and loaders by name, for the registry."""
    found = {kept.info.dataset: entry(kept.info.dataset) for kept in SHELF.all().values() if kept.info.task == _TEXT}
    return {name: own for name, own in found.items() if own is not None}


def identity(name: str) -> str:
    """Changes when another model takes the name."""
    source = _source_of(name)
    return "" if source is None else source.identity


def paths(name: str) -> tuple[Path, ...]:
    """The tokenizer; empty where SST-2 itself is not here."""
    source = _source_of(name)
    return (source.tokenizer,) if source is not None and has_data(sst2.INFO.name) else ()


def is_here(name: str) -> bool:
    """Whether the tokenizer and SST-2 are there."""
    return bool(paths(name))


def code_module() -> str:
    """Name of the module whose code reads the datasets."""
    return __name__


def _load(info: DatasetInfo) -> Dataset:
    """Token ids (N, T), begun and ended by the tokenizer's own marks, padded as the model's configuration says."""
    source = _source_of(info.name)
    if source is None:
        raise ModelError(f"the dataset {info.name!r} is not here: its model was removed")
    tokenizer, length, config = read_tokenizer(source.tokenizer), info.input_shape[0], source.config
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=int(config.get("pad_token_id") or 0))

    def split(sentences: list[str], labels: list[int]) -> Split:
        ids = torch.tensor([found.ids for found in tokenizer.encode_batch(sentences)], dtype=torch.int64)
        vocabulary = int(config.get("vocab_size") or 0)
        if vocabulary and int(ids.max()) >= vocabulary:
            raise ModelError(f"{TOKENIZER} gives the id {int(ids.max())}, the model's vocabulary has {vocabulary}")
        return Split(ids, torch.tensor(labels, dtype=torch.int64))

    return Dataset(info, split(*sst2.training_sentences()), split(*sst2.dev_sentences()))
