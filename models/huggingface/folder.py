"""Reads a folder of transformers: its configuration, its weights by the safe reader, preprocessing and labels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models.checkpoints import Checkpoint, read_checkpoint
from models.checkpoints.report import listed
from models.errors import ModelError
from models.huggingface.networks import IMAGES, build_network, configuration, task_of, wrapped
from models.huggingface.preprocessing import FILE, ImagePreprocessing, read_preprocessing

CONFIG, TOKENIZER = "config.json", "tokenizer.json"
_LARGEST_JSON = 20_000_000
_NAMED = "LABEL_"


@dataclass
class HuggingFaceModel:
    """What a folder holds.

    Attributes:
        config: Content of config.json.
        task: "image_classification" or "text_classification".
        labels: Name per class; empty where the configuration gives none.
        num_classes: Classes.
        preprocessing: Of images, if it is stated.
        tokenizer: Its file, of text.
        channels: Channels of an image.
    """

    folder: Path
    config: dict[str, Any]
    task: str
    labels: tuple[str, ...]
    num_classes: int
    preprocessing: ImagePreprocessing | None
    tokenizer: Path | None
    channels: int = 3

    def checkpoint(self, shown: str) -> Checkpoint:
        """The weights under the names of `build_network`.

        Raises:
            ModelError: if they are damaged, or are not those of the configuration.
        """
        read = read_checkpoint(self.folder, shown=shown)
        network, notes = _loaded(self.config, self.task, read.tensors, shown)
        if notes:
            read.report.drop("not used by the network", notes)
        for kind in sorted({_type(tensor) for tensor in read.tensors.values()} - {"float32", "int64"}):
            read.report.cast[kind] = sum(_type(tensor) == kind for tensor in read.tensors.values())
        items = network.state_dict().items()
        state = {key: value.float() if value.is_floating_point() else value for key, value in items}
        return Checkpoint(state, {}, read.report)


def read_folder(folder: Path) -> HuggingFaceModel:
    """Look at a folder; its weights are read by `HuggingFaceModel.checkpoint`.

    Raises:
        ModelError: if it has no configuration of a classifier, or text without a tokenizer.
    """
    config = _read_json(folder / CONFIG)
    if config is None:
        raise ModelError(f"{folder.name} has no {CONFIG}: a folder that transformers has written is needed")
    task = task_of(config)
    labels = _labels(config)
    count = len(labels) or int(config.get("num_labels") or 2)
    named = tuple(labels) if labels and not all(label.startswith(_NAMED) for label in labels) else ()
    tokenizer = folder / TOKENIZER if (folder / TOKENIZER).is_file() else None
    if task != IMAGES and tokenizer is None:
        raise ModelError(f"{folder.name} has no {TOKENIZER}; save it there with tokenizer.save_pretrained")
    stated = read_preprocessing(_read_json(folder / FILE), config) if task == IMAGES else None
    return HuggingFaceModel(
        folder, config, task, named, count, stated, tokenizer, int(config.get("num_channels") or 3)
    )


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ModelError(f"{path.name} is too large")
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path.name} cannot be read: {' '.join(str(error).split())[:120]}") from None
    if not isinstance(read, dict):
        raise ModelError(f"{path.name} is no mapping")
    return read


def _labels(config: Mapping[str, Any]) -> list[str]:
    """Names of the classes in the order of their indices.

    Raises:
        ModelError: if the indices are not 0 to n - 1.
    """
    mapped = config.get("id2label") or {}
    try:
        by_index = {int(key): str(value) for key, value in mapped.items()}
    except (ValueError, AttributeError):
        raise ModelError(f"{CONFIG}: id2label is no mapping of indices to names") from None
    if sorted(by_index) != list(range(len(by_index))):
        raise ModelError(f"{CONFIG}: id2label has other indices than 0 to {len(by_index) - 1}")
    return [by_index[index] for index in range(len(by_index))]


def _loaded(
    config: Mapping[str, Any], task: str, tensors: Mapping[str, Tensor], shown: str
) -> tuple[nn.Module, list[str]]:
    """The network with these tensors; transformers translates names of its earlier versions.

    Returns:
        The network, and names of tensors that it does not use.
    """
    kind: Any = type(build_network(config).network)
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        network, told = kind.from_pretrained(
            None, config=configuration(config), state_dict=dict(tensors), output_loading_info=True,
            attn_implementation="eager", trust_remote_code=False, local_files_only=True, ignore_mismatched_sizes=True,
        )
    except Exception as error:  # each architecture of transformers raises its own
        raise ModelError(f"the weights of {shown!r} cannot be loaded: {' '.join(str(error).split())[:200]}") from None
    missing, shapes = sorted(told["missing_keys"]), sorted(str(key[0]) for key in told["mismatched_keys"])
    if missing or shapes:
        problems = [f"{len(missing)} missing: {listed(missing)}"] if missing else []
        problems += [f"{len(shapes)} of another shape: {listed(shapes)}"] if shapes else []
        raise ModelError(f"the weights of {shown!r} do not fit {CONFIG}: {'; '.join(problems)}")
    return wrapped(network, task, config), sorted(told["unexpected_keys"])


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
