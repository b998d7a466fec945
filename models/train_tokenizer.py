"""Makes the tokenizer of SST-2 from its training phrases: ``python -m models.train_tokenizer``."""

import sys

from models.datasets.sentences import train_tokenizer
from models.datasets.sst2 import TOKENIZER, VOCABULARY, training_sentences


def main() -> int:
    """Write the tokenizer's JSON file."""
    sentences, _ = training_sentences()
    tokenizer = train_tokenizer(sentences, VOCABULARY)
    TOKENIZER.write_text(tokenizer.to_str(pretty=False), encoding="utf-8")
    sys.stdout.write(f"{tokenizer.get_vocab_size():,} tokens in {TOKENIZER.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
