"""A few test images of a data set, with their classes, small enough for a page."""

import base64
import hashlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass

from compression.errors import InputError
from compression.experiments.jobs import Progress, side_stage
from compression.experiments.store import ResultStore
from models import datasets
from models.errors import ModelError

_COUNT, _SIDE, _SEED = 12, 96, 7
_PART = "samples"


@dataclass(frozen=True)
class Sample:
    """One image.

    Attributes:
        png: The image.
        label: Name of its class.
    """

    png: bytes
    label: str


def samples_job(name: str) -> str:
    """Key of the job that makes the images, and of where they are kept; another one where the data lie elsewhere."""
    places = "|".join(str(path) for path in datasets.data_paths(name))
    return f"samples-{name}-{hashlib.sha256(places.encode()).hexdigest()[:8]}"


def read_samples(store: ResultStore, name: str) -> tuple[Sample, ...] | None:
    """The images, or None while there are none."""
    part = store.get_part(samples_job(name), _PART)
    if part is None:
        return None
    return tuple(Sample(base64.b64decode(own["png"]), own["label"]) for own in part["images"])


def show_samples(root: str, job: str, name: str, before: bool = True) -> bool:
    """Worker function: make the images of a data set."""
    return before and side_stage(
        root, job, lambda store, progress, cancelled: make_samples(store, name, progress, cancelled)
    )


def make_samples(store: ResultStore, name: str, progress: Progress, cancelled: Callable[[], bool]) -> None:
    """Read a fixed, stratified handful of test images and keep them as small PNGs.

    Raises:
        InputError: if the data set is not at hand or holds no images.
    """
    from PIL import Image

    del cancelled  # it is over before anybody could ask
    progress(0.1, "reading the data")
    try:
        data = datasets.load_dataset(name)
        images, targets = data.glance(_COUNT, _SEED)
    except ModelError as error:
        raise InputError("dataset", name, str(error)) from None
    if images.ndim != 4:
        raise InputError("dataset", name, "only images can be shown")
    names, shown = data.info.class_names, []
    for pixels, target in zip(images.numpy(), targets.tolist(), strict=True):
        own = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
        picture, factor = Image.fromarray(own), max(1, math.ceil(_SIDE / min(own.shape[:2])))
        if factor > 1:  # whole pixels stay sharp
            picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        file = io.BytesIO()
        picture.save(file, "PNG")
        label = names[target] if target < len(names) else str(target)
        shown.append({"png": base64.b64encode(file.getvalue()).decode(), "label": label})
    store.put_part(samples_job(name), _PART, {"images": shown})
