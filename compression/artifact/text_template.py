"""Text to token ids without packages beside numpy: word pieces as BERT cuts them, or single characters."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np

_CHINESE = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2CEAF), (0xF900, 0xFAFF))


def encode(text: str, spec: dict[str, Any], folder: Path) -> tuple[np.ndarray, int]:
    """Token ids padded to the model's length, int64 (T,), and how many of them are of the text.

    Args:
        text: Any text.
        spec: The bundle's input_spec.json.
        folder: Where the bundle's tokenizer.json is.
    """
    length, settings = spec["shape"][0], spec["text"]
    if settings["kind"] == "characters":
        known = {character: i for i, character in enumerate(settings["vocabulary"])}
        plain = text.encode("ascii", "replace").decode().replace("\r\n", "\n").replace("\t", " ")
        ids = [known.get(character, len(known)) for character in plain][-length:]
    else:
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        first, last = settings["first"], settings["last"]
        pieces = [piece for word in words(text, tokenizer["normalizer"]) for piece in word_pieces(word, tokenizer)]
        ids = [*first, *pieces[: length - len(first) - len(last)], *last]
    return np.array(ids + [0] * (length - len(ids)), dtype=np.int64), len(ids)


def words(text: str, normalizer: dict[str, Any]) -> list[str]:
    """Words and single punctuation marks, normalised as BERT does it (Devlin et al. 2019)."""
    if normalizer["clean_text"]:
        text = "".join(" " if c.isspace() else c for c in text if c in "\t\n\r" or not _is_control(c))
    if normalizer["handle_chinese_chars"]:
        text = "".join(f" {c} " if any(low <= ord(c) <= high for low, high in _CHINESE) else c for c in text)
    strips = normalizer["strip_accents"]
    if normalizer["lowercase"] if strips is None else strips:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    if normalizer["lowercase"]:
        text = text.lower()
    return "".join(f" {c} " if _is_punctuation(c) else c for c in text).split()


def _is_control(character: str) -> bool:
    return character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co")


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P") or character in "$+<=>^`|~"


def word_pieces(word: str, tokenizer: dict[str, Any]) -> list[int]:
    """Ids of the longest pieces of the vocabulary, from left to right (Wu et al. 2016)."""
    model = tokenizer["model"]
    vocabulary, unknown = model["vocab"], model["vocab"][model["unk_token"]]
    if len(word) > model["max_input_chars_per_word"]:
        return [unknown]
    found, start = [], 0
    while start < len(word):
        prefix = model["continuing_subword_prefix"] if start else ""
        end = next((e for e in range(len(word), start, -1) if prefix + word[start:e] in vocabulary), None)
        if end is None:
            return [unknown]
        found.append(vocabulary[prefix + word[start:end]])
        start = end
    return found
