"""Words and word pieces to token ids (Wu et al. 2016, WordPiece), by the `tokenizers` library."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from models.errors import ModelError

PAD, UNKNOWN = "[PAD]", "[UNK]"
PAD_ID, UNKNOWN_ID = 0, 1


def train_tokenizer(sentences: Iterable[str], vocabulary: int) -> Tokenizer:
    """Learn a vocabulary of lower-case word pieces.

    Args:
        sentences: The text to learn from.
        vocabulary: Most tokens, the two special ones included.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=[PAD, UNKNOWN], show_progress=False)
    tokenizer.train_from_iterator(sentences, trainer)
    return tokenizer


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer from its JSON file.

    Raises:
        ModelError: if the file is missing or no tokenizer.
    """
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises nothing more precise
        reason = " ".join(str(error).split())[:120]
        raise ModelError(f"the tokenizer {path.name!r} cannot be read: {reason}") from None


def encode(tokenizer: Tokenizer, sentences: Sequence[str], length: int) -> Tensor:
    """Token ids, int64 (N, length): longer sentences are cut, shorter ones padded with 0."""
    ids = torch.full((len(sentences), length), PAD_ID, dtype=torch.int64)
    for row, found in enumerate(tokenizer.encode_batch(list(sentences), add_special_tokens=False)):
        kept = found.ids[:length]
        ids[row, : len(kept)] = torch.tensor(kept, dtype=torch.int64)
    return ids


def decode(tokenizer: Tokenizer, ids: Tensor) -> str:
    """The words of one row of ids (T,), without its padding."""
    return tokenizer.decode([int(i) for i in ids if int(i) != PAD_ID], skip_special_tokens=False)
