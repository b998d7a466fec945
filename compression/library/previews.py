"""A look into a dataset: how much of it is here, and a few test images with their classes, small enough for a page."""

import base64
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from compression.core.errors import InputError
from compression.experiments.store import ResultStore
from compression.jobs.experiment_jobs import Progress, side_stage
from models import datasets
from models.errors import ModelError

_COUNT, _SIDE, _SEED = 12, 96, 7
_IMAGE_DIMENSIONS = 4
_PART = "samples"


@dataclass(frozen=True)
class Look:
    """What was found in a dataset.

    Attributes:
        n_train: Samples for calibration and training that are here.
        n_test: Samples that are scored.
        images: A few of these; none of text.
    """

    n_train: int
    n_test: int
    images: tuple["Sample", ...]


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        png: The image.
        label: Name of its class.
    """

    png: bytes
    label: str


def look_job(name: str) -> str:
    """Key of the job that looks, and of where that is kept; another one where the data lie elsewhere."""
    places = "|".join(str(path) for path in datasets.data_paths(name))
    return f"look-{name}-{hashlib.sha256(places.encode()).hexdigest()[:8]}"


def read_look(store: ResultStore, name: str) -> Look | None:
    """What was found, or None where nobody has looked yet."""
    part = store.get_part(look_job(name), _PART)
    if part is None:
        return None
    images = tuple(Sample(base64.b64decode(own["png"]), own["label"]) for own in part["images"])
    return Look(part["n_train"], part["n_test"], images)


def look_into(root: str, job: str, name: str, before: bool = True) -> bool:
    """Worker function: read a dataset and keep what is to be shown of it."""
    return before and side_stage(
        root, job, lambda store, progress, cancelled: look(store, name, progress, cancelled)
    )


def look(store: ResultStore, name: str, progress: Progress, cancelled: Callable[[], bool]) -> None:
    """Count a dataset's samples, and keep a fixed, stratified handful of test images as small PNGs.

    Raises:
        InputError: if the dataset is not on this machine or cannot be read.
    """
    del cancelled  # it is over before anybody could ask
    progress(0.1, "reading the data")
    try:
        data = datasets.load_dataset(name)
        inputs, targets = data.glance(_COUNT, _SEED)
    except ModelError as error:
        raise InputError("dataset", name, str(error)) from None
    names, images = data.info.class_names, []
    if inputs.ndim == _IMAGE_DIMENSIONS:
        for pixels, target in zip(inputs.numpy(), targets.tolist(), strict=True):
            label = names[target] if target < len(names) else str(target)
            images.append({"png": base64.b64encode(_png(pixels)).decode(), "label": label})
    found = {"n_train": data.info.n_train or len(data.train), "n_test": data.info.n_test, "images": images}
    store.put_part(look_job(name), _PART, found)


def _png(pixels: np.ndarray) -> bytes:
    """uint8 (C, H, W) as a file; small images are enlarged by whole pixels, so that they stay sharp."""
    own = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    picture, factor = Image.fromarray(own), math.ceil(_SIDE / min(own.shape[:2]))
    if factor > 1:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
