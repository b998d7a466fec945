"""A model as its user describes it: an architecture, weights, classes and preprocessing."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.datasets import DatasetInfo, dataset_info
from models.errors import FieldError, ModelError
from models.info import ModelInfo
from models.tasks import BINARY, REGRESSION, classes_of, data_task, is_of_images, task_on
from models.user.builders import Architecture, architecture
from models.user.metadata import FILTERS

FIELDS = (
    "architecture", "weights", "ema", "task", "num_classes", "input_size", "mean", "std", "scale", "resize_size",
    "interpolation", "channel_order",
)
_MOST_CLASSES, _LARGEST_SIDE = 10_000, 1024
_WHOLE_BELOW = 160
_PREPROCESSING = ("input_size", "resize_size", "interpolation", "mean", "std", "scale")


@dataclass(frozen=True)
class Description:
    """All that is needed to build a model and prepare its inputs; checked.

    Attributes:
        kind: Its architecture.
        task: Name of its task; one output is a logit on data of two classes, and a value on data of values.
        num_classes: Numbers that it gives per input: classes, or 1.
        dataset: Dataset it is scored on.
        input_size: Side of its input, pixels; None for text.
        mean: Normalisation per channel.
        std: Normalisation per channel.
        scale: What raw bytes are divided by.
        resize_size: Shorter side of a photograph before its centre is cut; None for text.
        interpolation: How photographs are resized.
        channel_order: Order of the colour channels, "RGB" or "BGR".
        preprocessing_source: Where the preprocessing comes from, in words; empty for text.
    """

    kind: Architecture
    task: str
    num_classes: int
    dataset: str
    input_size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    resize_size: int | None
    interpolation: str
    preprocessing_source: str = ""
    channel_order: str = "RGB"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Without the batch dimension."""
        if self.input_size is None:
            return self.kind.input_shape
        return (self.kind.input_shape[0], self.input_size, self.input_size)

    def info(self, name: str, weights: str, file_name: str, parameters: int | None = None) -> ModelInfo:
        """Its record in the registry."""
        kind = self.kind
        return ModelInfo(
            name=name, title=f"{name} ({kind.name})", task=self.task, dataset=self.dataset,
            input_shape=self.input_shape, num_classes=classes_of(self.task, self.num_classes), family=kind.family,
            description=f"{kind.name} of {_outputs_in_words(self)} with the user's weights ({file_name}).",
            source=f"the user's file {file_name}", license="the user's", input_dtype=kind.input_dtype, mean=self.mean,
            std=self.std, scale=self.scale, resize_size=self.resize_size, interpolation=self.interpolation,
            parameters=parameters, weights=weights, architecture=kind.name,
            preprocessing_source=self.preprocessing_source, channel_order=self.channel_order,
            configuration=_configuration(kind),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data; inverse of `describe`, but for the dataset."""
        if self.input_size is None:  # of text, which has no preprocessing
            return {"architecture": self.kind.name, "num_classes": self.num_classes}
        return {
            "architecture": self.kind.name, "task": self.task, "num_classes": self.num_classes,
            "input_size": self.input_size, "mean": list(self.mean), "std": list(self.std), "scale": self.scale,
            "resize_size": self.resize_size, "interpolation": self.interpolation,
            **({"channel_order": self.channel_order} if self.channel_order != "RGB" else {}),
        }


def describe(
    given: Mapping[str, Any], dataset: str | None, *, known: bool = True, kind: Architecture | None = None
) -> Description:
    """Check a description and fill in what the architecture usually has.

    Args:
        given: Fields of `FIELDS`; None counts as not given.
        dataset: Dataset to score on; the architecture's by default.
        known: Whether the dataset must be known and of as many classes.
        kind: The architecture where it is known already; else it is looked up by its name.

    Raises:
        FieldError: naming the field, the value and what is allowed.
    """
    for name in given:
        if name not in FIELDS:
            raise FieldError(str(name), given[name], "allowed fields: " + ", ".join(FIELDS))
    wants_average(given)
    values = {name: value for name, value in given.items() if value is not None}
    kind = kind or architecture(values.get("architecture"))
    dataset = dataset or kind.dataset
    data = _data(dataset, kind) if known else None
    usual = 1 if data is not None and data.task == REGRESSION else kind.outputs
    classes = _whole("num_classes", values.get("num_classes", usual), 1, _MOST_CLASSES)
    task = _task(kind, classes, data, values.get("task"))
    if not is_of_images(kind.task):
        return _of_text(kind, classes, dataset, values)
    size = _whole("input_size", values.get("input_size", kind.input_shape[-1]), 8, _LARGEST_SIDE)
    channels, mean, std = kind.input_shape[0], kind.mean, kind.std
    mean = _numbers("mean", values["mean"], channels) if "mean" in values else mean
    std = _numbers("std", values["std"], channels, positive=True) if "std" in values else std
    if len(mean) != len(std):
        raise FieldError("std", list(std), "mean and std belong together")
    scale = _numbers("scale", values.get("scale", kind.scale), 1, positive=True)[0]
    resize = _whole("resize_size", values.get("resize_size", usual_resize(kind, size)), size, 2 * _LARGEST_SIDE)
    interpolation = values.get("interpolation", kind.interpolation)
    if interpolation not in FILTERS:
        raise FieldError("interpolation", interpolation, "allowed: " + ", ".join(FILTERS))
    order = values.get("channel_order", "RGB")
    if order not in ("RGB", "BGR"):
        raise FieldError("channel_order", order, "allowed: RGB, BGR")
    used = {"input_size": size, "resize_size": resize, "interpolation": interpolation, "mean": mean, "std": std,
            "scale": scale}
    return Description(
        kind, task, classes, dataset, size, mean, std, scale, resize, interpolation, source_of(kind, used), order
    )


def wants_average(given: Mapping[str, Any]) -> bool:
    """Whether a description asks for the moving average (EMA) of its checkpoint.

    Raises:
        FieldError: if it says anything but true or false.
    """
    wanted = given.get("ema")
    if wanted is not None and not isinstance(wanted, bool):
        raise FieldError("ema", wanted, "true or false is needed")
    return bool(wanted)


def usual_resize(kind: Architecture, size: int) -> int:
    """Shorter side before the centre crop: small images are taken whole, of photographs the stated proportion."""
    if kind.resize_size is not None and size == kind.input_shape[-1]:
        return kind.resize_size
    if kind.resize_size is None or size < _WHOLE_BELOW:
        return size
    return round(size * kind.resize_size / kind.input_shape[-1])


def usual_preprocessing(kind: Architecture, size: int) -> dict[str, Any]:
    """Preprocessing that an architecture's metadata state, for a side of the input in pixels."""
    return {
        "input_size": kind.input_shape[-1], "resize_size": usual_resize(kind, size),
        "interpolation": kind.interpolation, "mean": kind.mean, "std": kind.std, "scale": kind.scale,
    }


def source_of(kind: Architecture, used: Mapping[str, Any]) -> str:
    """Where each part of a preprocessing comes from: the metadata of the architecture, or the user.

    Args:
        kind: The architecture.
        used: Values by the fields of `usual_preprocessing`.
    """
    usual = usual_preprocessing(kind, used["input_size"])
    changed = [name for name in _PREPROCESSING if used[name] != usual[name]]
    if not changed:
        return kind.source
    return f"{kind.source}; set by the user: {', '.join(changed)}"


def _configuration(kind: Architecture) -> str:
    """Digest of the configuration that a network is built from; empty where its name alone decides."""
    if kind.config is None:
        return ""
    return hashlib.sha256(json.dumps(kind.config, sort_keys=True).encode()).hexdigest()[:16]


def _of_text(kind: Architecture, classes: int, dataset: str, values: Mapping[str, Any]) -> Description:
    for name in ("input_size", "mean", "std", "scale", "resize_size", "interpolation", "channel_order"):
        if name in values:
            raise FieldError(name, values[name], f"{kind.name} takes text: it has no such preprocessing")
    return Description(kind, kind.task, classes, dataset, None, (), (), kind.scale, None, kind.interpolation)


def _data(dataset: str, kind: Architecture) -> DatasetInfo:
    """Record of a dataset that networks of this kind can be scored on."""
    if not dataset:
        raise FieldError("dataset", None, "the name of a dataset to score on is needed")
    try:
        data = dataset_info(dataset)
    except ModelError as error:
        raise FieldError("dataset", dataset, str(error)) from None
    images = is_of_images(kind.task) and is_of_images(data.task)
    if data.task != data_task(kind.task) and not images:
        raise FieldError("dataset", dataset, f"{kind.name} needs one for {kind.task.replace('_', ' ')}")
    return data


def _task(kind: Architecture, outputs: int, data: DatasetInfo | None, wanted: object) -> str:
    """The task that a number of outputs and the data make of a network, checked."""
    if data is None:  # kept before tasks were: of as many classes as outputs
        return str(wanted or kind.task)
    task = task_on(data.task, outputs) if is_of_images(kind.task) else kind.task
    if wanted not in (None, task):
        raise FieldError("task", wanted, f"{outputs} outputs on the dataset {data.name!r} make it {task}")
    if not data.has_classes(classes_of(task, outputs)):
        raise FieldError("num_classes", outputs, _needed(data))
    return task


def _needed(data: DatasetInfo) -> str:
    if data.task == REGRESSION:
        return f"the dataset {data.name!r} has one value per image: 1 output is needed"
    logit = " (or 1, a logit)" if data.num_classes == 2 and is_of_images(data.task) else ""
    return f"the dataset {data.name!r} has {data.num_classes} classes: {data.num_classes} outputs{logit} are needed"


def _outputs_in_words(description: Description) -> str:
    if description.task == BINARY:
        return "one logit"
    return "one value" if description.task == REGRESSION else f"{description.num_classes} classes"


def _whole(field: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise FieldError(field, value, f"a whole number from {low} to {high} is needed")
    return value


def _numbers(field: str, value: object, count: int, *, positive: bool = False) -> tuple[float, ...]:
    """As many numbers; a single one counts for every channel, and none at all means no normalisation."""
    if value in ([], ()):
        return ()
    listed = list(value) if isinstance(value, list | tuple) else [value]
    fine = all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in listed)
    if not fine or len(listed) not in (1, count) or (positive and any(v <= 0 for v in listed)):
        kind = "positive numbers" if positive else "numbers"
        raise FieldError(field, value, f"{count} {kind} are needed, or one for all channels")
    return tuple(float(v) for v in (listed if len(listed) == count else listed * count))
