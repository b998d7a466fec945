"""SST-2: is a sentence from a film review positive? (Socher et al. 2013, as in GLUE)"""

import csv
from pathlib import Path

import torch
from torch import Tensor

from models.datasets.registry import Dataset, DatasetInfo, Split, register_dataset
from models.datasets.sentences import UNKNOWN_ID, encode, read_tokenizer
from models.errors import ModelError
from models.sources.locations import find_data

TOKENIZER = Path(__file__).resolve().parents[1] / "weights" / "sst2_tokenizer.json"
VOCABULARY, LENGTH = 8000, 64
_TRAIN, _DEV = ("train_60614.tsv", "train_part2_6735.tsv"), "glue_dev_872.tsv"
_DROPPED = 0.3

INFO = DatasetInfo(
    name="sst2", title="SST-2", task="text_classification", num_classes=2, input_shape=(LENGTH,), n_train=67_349,
    n_test=872, license="see its home page, nlp.stanford.edu/sentiment",
    source="Stanford Sentiment Treebank as in GLUE; the 872 sentences of its dev split are scored",
    class_names=("negative", "positive"), needs=(f"text/sst2/{_DEV}",),
)


def read_sentences(path: Path) -> tuple[list[str], list[int]]:
    """Sentences and their labels (1: positive) from a file of tab-separated "sentence" and "label".

    Raises:
        ModelError: if the file has other columns or labels.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or rows[0] != ["sentence", "label"] or any(len(r) != 2 or r[1] not in ("0", "1") for r in rows[1:]):
        raise ModelError(f"{path.name!r} is not as expected: two columns, sentence and label (0 or 1), are needed")
    return [row[0].strip() for row in rows[1:]], [int(row[1]) for row in rows[1:]]


def training_sentences() -> tuple[list[str], list[int]]:
    """The phrases that may be learned from.

    Raises:
        ModelError: if they are not on this machine.
    """
    sentences, labels = [], []
    for name in _TRAIN:
        own = read_sentences(_find(name))
        sentences, labels = sentences + own[0], labels + own[1]
    return sentences, labels


def dev_sentences() -> tuple[list[str], list[int]]:
    """The sentences that are scored.

    Raises:
        ModelError: if they are not on this machine.
    """
    return read_sentences(_find(_DEV))


def _find(name: str) -> Path:
    path = find_data(f"text/sst2/{name}")
    if path is None:
        raise ModelError(f"the dataset 'sst2' is not here: text/sst2/{name} below COMPRESSION_DATA")
    return path


def drop_words(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Three tokens in ten become the unknown one, so that no single word decides (Iyyer et al. 2015)."""
    dropped = torch.rand(batch.shape, generator=generator) < _DROPPED
    return torch.where(dropped & (batch > UNKNOWN_ID), UNKNOWN_ID, batch)


@register_dataset(INFO)
def sst2() -> Dataset:
    """Token ids (N, 64) of the training phrases and of the dev sentences."""
    tokenizer = read_tokenizer(TOKENIZER)
    splits = []
    for sentences, labels in (training_sentences(), dev_sentences()):
        splits.append(Split(encode(tokenizer, sentences, LENGTH), torch.tensor(labels, dtype=torch.int64)))
    return Dataset(INFO, splits[0], splits[1], drop_words)
