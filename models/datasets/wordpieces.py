"""SST-2 in BERT's word pieces, for encoders of the Hugging Face hub."""

import torch
from torch import Tensor

from models.datasets.registry import Dataset, DatasetInfo, Split, missing, register_dataset
from models.datasets.sentences import read_tokenizer
from models.datasets.sst2 import dev_sentences, training_sentences
from models.sources.locations import find_data

TOKENIZER = "text/distilbert_sst2/tokenizer.json"
LENGTH = 64

INFO = DatasetInfo(
    name="sst2_wordpieces", title="SST-2 in BERT's word pieces", task="text_classification", num_classes=2,
    input_shape=(LENGTH,), n_train=67_349, n_test=872, license="see its home page, nlp.stanford.edu/sentiment",
    source="Stanford Sentiment Treebank as in GLUE; word pieces of the checkpoint that models.hub_encoder brought",
    class_names=("negative", "positive"), needs=(TOKENIZER,),
)


@register_dataset(INFO)
def sst2_wordpieces() -> Dataset:
    """Token ids (N, 64), begun and ended by the tokenizer's own marks, padded with 0."""
    path = find_data(TOKENIZER)
    if path is None:
        raise missing(INFO)
    tokenizer = read_tokenizer(path)
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH, pad_id=0)

    def split(sentences: list[str], labels: list[int]) -> Split:
        ids: Tensor = torch.tensor([found.ids for found in tokenizer.encode_batch(sentences)], dtype=torch.int64)
        return Split(ids, torch.tensor(labels, dtype=torch.int64))

    return Dataset(INFO, split(*training_sentences()), split(*dev_sentences()))
