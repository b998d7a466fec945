"""Folders that transformers has written, named by a recipe: read where they lie, nothing is kept."""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from models.checkpoints import weight_files, weights_in
from models.datasets import sst2
from models.errors import FieldError, ModelError
from models.huggingface import read_folder
from models.info import ModelInfo
from models.user import kept_models, kept_text
from models.user.builders import build
from models.user.description import FIELDS, Description
from models.user.kept_huggingface import description_of

NAME = "huggingface"
_GIVEN = tuple(name for name in FIELDS if name not in ("architecture", "weights", "ema"))


def described_folder(given: Mapping[str, Any], dataset: str) -> tuple[ModelInfo, Callable[[], nn.Module]]:
    """Record and factory of a classifier; of text, the dataset is SST-2 in the word pieces of the folder.

    Args:
        given: "huggingface", the folder's path, and preprocessing in place of what the folder states.
        dataset: Dataset it is scored on.

    Raises:
        FieldError: naming the field, the value and what is allowed.
    """
    text = given.get(NAME)
    folder = Path(text).expanduser().absolute() if isinstance(text, str) and text else None
    if folder is None or not folder.is_dir():
        raise FieldError(NAME, text, "a folder with config.json and weights is needed")
    rest = {key: value for key, value in given.items() if key != NAME and value is not None}
    for field in rest:
        if field not in _GIVEN:
            raise FieldError(str(field), rest[field], "allowed beside a folder: " + ", ".join(_GIVEN))
    try:
        source, weights = read_folder(folder), weights_in(folder)
        description = description_of(source, rest, dataset, sst2.INFO.name)
        stamp = _stamp(folder)
        _check(folder, stamp, description, text)
    except FieldError:
        raise
    except ModelError as error:
        raise FieldError(NAME, text, str(error)) from None
    what = f"{sorted(description.to_dict().items())}|{folder}|{stamp}"
    name = f"{NAME}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"
    info = description.info(name, str(weights), folder.name)
    if source.tokenizer is not None:
        info = kept_text.describe_source(info, kept_text.TextSource(source.tokenizer, source.config, info.input_shape))
    return info, partial(build, description.kind, description.num_classes, description.input_size)


def _stamp(folder: Path) -> str:
    """Changes when a file of the folder does."""
    known = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir())
    return hashlib.sha256(repr(known).encode()).hexdigest()


_CHECKED: set[tuple[Path, str, str]] = set()


def _check(folder: Path, stamp: str, description: Description, shown: str) -> None:
    """Load the weights and put one input through the network, once in a process for each state of the folder."""
    key = (folder, stamp, repr(sorted(description.to_dict().items())))
    if key in _CHECKED:
        return
    for path in weight_files(folder):
        kept_models.check_file(path, path.name)
    model = build(description.kind, description.num_classes, description.input_size)
    kept_models.load(model, read_folder(folder).checkpoint(shown), description, shown)
    kept_models.try_on_one_input(model, description)
    _CHECKED.add(key)
