"""Single samples of a dataset as something to look at: a small picture, or a place in a text."""

import base64
import io
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from models.datasets import DatasetInfo, Split, python_source, sentences, sst2

_LARGEST, _LOSSLESS = 96, 64
_BEFORE, _AFTER = 60, 24


@dataclass(frozen=True)
class Sample:
    """One sample, or for language models one position of it.

    Attributes:
        image: The picture as a data URI; empty for text.
        before: Text up to the position, or the whole sentence.
        at: What stands at the position; empty for sentences.
        after: Text that follows.
    """

    image: str = ""
    before: str = ""
    at: str = ""
    after: str = ""


def class_names(info: DatasetInfo) -> tuple[str, ...]:
    """Name per class, or per token of a vocabulary."""
    if info.class_names:
        return info.class_names
    if info.name == python_source.INFO.name:
        return (*(_visible(character) for character in python_source.VOCABULARY), "unknown")
    return tuple(str(i) for i in range(info.num_classes))


def sample_at(info: DatasetInfo, split: Split, place: int) -> Sample:
    """What is at a place of the flattened targets."""
    if split.targets.ndim > 1:
        row, position = divmod(place, split.targets.shape[1])
        return _position(info, split.inputs[row : row + 1][0], split.targets[row], position)
    own = split.inputs[place : place + 1][0]
    return Sample(before=_sentence(info, own)) if info.task == "text_classification" else Sample(image=thumbnail(own))


def thumbnail(image: Tensor) -> str:
    """A picture (C, H, W) of 8-bit values as a data URI, at most 96 pixels wide or high."""
    pixels = np.ascontiguousarray(image.numpy().astype(np.uint8).transpose(1, 2, 0))
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((_LARGEST, _LARGEST))
    kind = "PNG" if max(picture.size) <= _LOSSLESS else "JPEG"
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _position(info: DatasetInfo, inputs: Tensor, targets: Tensor, position: int) -> Sample:
    """The text around a predicted token, which follows the input at its position."""
    seen, ahead = inputs[: position + 1], targets[position + 1 : position + 1 + _AFTER]
    text, following = (_text(info, own) for own in (seen[-_BEFORE:], ahead))
    return Sample(before=text, at=_text(info, targets[position : position + 1]), after=following)


def _text(info: DatasetInfo, ids: Tensor) -> str:
    if info.name == python_source.INFO.name:
        return python_source.decode(ids.numpy())
    return " ".join(str(int(i)) for i in ids)


def _sentence(info: DatasetInfo, ids: Tensor) -> str:
    if info.name == sst2.INFO.name:
        return sentences.decode(_tokenizer(), ids)
    return " ".join(str(int(i)) for i in ids)


@lru_cache(maxsize=1)
def _tokenizer() -> Tokenizer:
    return sentences.read_tokenizer(sst2.TOKENIZER)


def _visible(character: str) -> str:
    return {"\n": "new line", " ": "space"}.get(character, character)
